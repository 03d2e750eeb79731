# SPDX-License-Identifier: MIT
"""``embed --gpus`` and ``--ranks``: what fits together, before anything is started."""

import pytest

from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler.cli.main import main


@pytest.fixture
def embed(tmp_path, capsys):
    fasta = write_fasta(tmp_path / "own.faa", random_records(8, longest=20))

    def run(*options):
        arguments = [
            "--fasta",
            fasta,
            "--model",
            "8M",
            "--weights",
            "random",
            "--output-dir",
            tmp_path / "out",
            *options,
        ]
        try:
            code = main(["embed", *map(str, arguments)])
        except SystemExit as stop:
            code = stop.code
        return code, capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--gpus", "2", "--ranks", "2"), "--gpus starts a process for each GPU, and --ranks starts them on the CPU"),
        (("--gpus", "2", "--device", "cpu"), "--gpus chooses the devices, so --device cpu has no place"),
        (("--gpus", "2", "--device", "cuda:1"), "--gpus chooses the devices, so --device cuda:1 has no place"),
        (("--ranks", "2", "--device", "cuda"), "--ranks chooses the devices, so --device cuda has no place"),
        (("--gpus", "some"), "--gpus 'some' is not all, a number of GPUs, or a list of them such as 0,2"),
        (("--gpus", "0,0"), "--gpus 0,0 names a GPU twice"),
        (("--ranks", "0"), "0 is too small"),
        (("--gpus", "0,2", "--dry-run"), "--gpus 0,2 with --dry-run names numbers of GPUs, and 0 is none"),
        (("--gpus", "8,64", "--dry-run"), "give --config SWEEP or --run PATH"),
    ],
)
def test_what_does_not_fit_together_is_refused(embed, options, sentence):
    code, output = embed(*options)
    assert code == 2
    assert sentence in output.err


def test_without_a_gpu_the_way_out_is_named(embed, monkeypatch):
    monkeypatch.setattr("virnuc_profiler.capture.target.visible_uuids", list)
    code, output = embed("--gpus", "all")
    assert code == 2
    assert "--gpus all: this process sees no GPU; see virnuc-profiler doctor, or use --ranks N" in output.err


def test_ranks_of_another_launcher_start_no_ranks(embed, monkeypatch):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    code, output = embed("--ranks", "2")
    assert code == 2
    assert "--ranks starts ranks, and this is rank 0 of 2 (torchrun) already: leave --ranks out" in output.err
