# SPDX-License-Identifier: MIT
import dataclasses
import json
from pathlib import Path

import pytest

from tests.support.embed_job import job_of, write_fasta
from tests.support.sweeps import run_in_journal, small_plan
from virnuc_profiler.cli.options.arguments import Parser
from virnuc_profiler.cli.options.embed_options import add_embed_options, embed_request
from virnuc_profiler.embed.job import begin_or_continue
from virnuc_profiler.errors import TelemetryFormatError, UsageError
from virnuc_profiler.inference.sequences.fasta import FastaFile


def request(*arguments):
    parser = Parser()
    add_embed_options(parser)
    return embed_request(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def sweep(tmp_path):
    """The folder of a sweep whose recommendation names the 8M model."""
    folder = tmp_path / "sweep"
    folder.mkdir()
    run_in_journal(folder, begin=small_plan())
    change(folder, model={"model_name": "esm2_t6_8M_UR50D", "precision": "bf16"})
    return folder


def change(folder, **parts):
    path = folder / "best_config.json"
    document = json.loads(path.read_text())
    for name, values in parts.items():
        document[name] = values if values is None else {**document[name], **values}
    path.write_text(json.dumps(document))


def test_defaults_are_those_of_the_baseline(tmp_path):
    found = request("--fasta", "a.fa", "--output-dir", tmp_path, "--model", "650M")
    assert (found.model, found.weights, found.precision) == ("esm2_t33_650M_UR50D", "auto", None)
    assert (found.format, found.dtype, found.per_residue, found.skip_invalid) == ("parquet", "fp32", False, False)
    assert found.configuration.token_budget == 4096
    assert found.notices == ()


def test_a_recommendation_is_read_from_its_file_or_its_folder(tmp_path, sweep):
    for path in (sweep, sweep / "best_config.json"):
        found = request("--fasta", "a.fa", "--output-dir", tmp_path, "--config", path, "--buffer-size", "77")
        assert (found.model, found.precision) == ("esm2_t6_8M_UR50D", "bf16")
        assert found.configuration.buffer_size == 77
        assert found.config == sweep / "best_config.json"
        assert found.notices[0].startswith(f"From {sweep / 'best_config.json'}: num_workers=")
        assert found.notices[1] == "From the options instead: buffer_size=77"


def test_another_model_or_precision_than_that_of_the_recommendation_is_refused(tmp_path, sweep):
    options = ("--fasta", "a.fa", "--output-dir", tmp_path, "--config", sweep)
    request(*options, "--model", "8M", "--precision", "bf16")
    with pytest.raises(UsageError, match="was found for model esm2_t6_8M_UR50D, and --model asks for"):
        request(*options, "--model", "3B")
    with pytest.raises(UsageError, match="was found for precision bf16, and --precision asks for fp16"):
        request(*options, "--precision", "fp16")


def test_recommendations_that_cannot_be_used_are_named(tmp_path, sweep):
    options = ("--fasta", "a.fa", "--output-dir", tmp_path, "--config")
    with pytest.raises(TelemetryFormatError, match=r"best_config\.json"):
        request(*options, tmp_path)
    change(sweep, model={"model_name": "protein-model"})
    with pytest.raises(UsageError, match="unknown model 'protein-model'"):
        request(*options, sweep)
    change(sweep, config=None)
    with pytest.raises(TelemetryFormatError, match="recommends nothing"):
        request(*options, sweep)


def test_resume_takes_everything_from_the_job(tmp_path):
    fasta = FastaFile.open(write_fasta(tmp_path / "a.fa", 5))
    job = job_of(
        fasta, model="esm2_t6_8M_UR50D", precision="bf16", dtype="fp16", format="safetensors", per_residue=True,
        weights_option="/weights.pt", token_budget=123, num_workers=3,
    )  # fmt: skip
    begin_or_continue(tmp_path, dataclasses.replace(job, num_shards=2))
    found = request("--resume", tmp_path)
    assert (found.fasta, found.folder, found.weights) == (Path(job.fasta), tmp_path, "/weights.pt")
    assert (found.model, found.precision, found.format, found.dtype) == (
        job.model, job.precision, job.format, job.dtype
    )  # fmt: skip
    assert found.per_residue
    assert (found.configuration.token_budget, found.configuration.num_workers) == (123, 3)
    assert request("--resume", tmp_path, "--token-budget", "99").configuration.token_budget == 99
    with pytest.raises(UsageError, match="leave --output-dir out"):
        request("--resume", tmp_path, "--output-dir", tmp_path / "other")
