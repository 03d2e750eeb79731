# SPDX-License-Identifier: MIT
"""The command that a rank on a cluster runs, which must mean the same job on another host."""

from dataclasses import replace

import pytest

from tests.support.embed_job import job_of, write_fasta
from virnuc_profiler.cli import main as command_line
from virnuc_profiler.cli.embed.embed_on_ray import rank_arguments
from virnuc_profiler.cli.options.embed_options import embed_request
from virnuc_profiler.embed.prepared_job import prepare_job
from virnuc_profiler.inference.sequences.fasta import FastaFile


def parse(*options):
    arguments = command_line.build_parser().parse_args(["embed", *map(str, options)])
    return arguments, embed_request(arguments)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--weights", "own.safetensors", "--num-workers", "3", "--min-cosine", "-0.5", "--debug", "--quiet"),
        (
            "--format",
            "safetensors",
            "--dtype",
            "fp16",
            "--per-residue",
            "--skip-invalid",
            "--buffer-size",
            "77",
            "--metrics",
            "embed.prom",
        ),
    ],
)
def test_the_arguments_of_a_rank_ask_for_the_same_job(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    fasta = FastaFile.open(write_fasta(tmp_path / "a.fa", 20))
    arguments, request = parse("--fasta", "a.fa", "--output-dir", "out", "--model", "8M", *options)
    request = replace(request, fasta=tmp_path / "a.fa", folder=tmp_path / "out")
    prepared = prepare_job(request.folder, job_of(fasta, precision="bf16"), fasta, num_shards=5)
    module, name, command, *rest = rank_arguments(arguments, request, prepared, "cpu")
    assert (module, name, command) == ("-m", "virnuc_profiler", "embed")
    monkeypatch.chdir("/")
    again, of_rank = parse(*rest)
    weights = request.weights if request.weights == "auto" else str(tmp_path / request.weights)
    assert of_rank == replace(request, precision="bf16", weights=weights)
    assert (again.device, again.shards, again.trust_sizes) == ("cpu", 5, True)
    assert again.metrics == (None if arguments.metrics is None else tmp_path / arguments.metrics)
    kept = ("num_workers", "min_cosine", "debug", "quiet")
    assert [getattr(again, name) for name in kept] == [getattr(arguments, name) for name in kept]
