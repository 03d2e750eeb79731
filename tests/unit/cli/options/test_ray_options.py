# SPDX-License-Identifier: MIT
"""``embed --engine ray``: what fits together, before Ray is imported."""

import sys

import pytest

from virnuc_profiler.cli.main import main

OPTIONS = ("--fasta", "a.faa", "--model", "8M", "--output-dir", "out")


@pytest.fixture(autouse=True)
def no_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--num-actors", "2"), "--num-actors needs --engine ray"),
        (("--ray-address", "auto"), "--ray-address needs --engine ray"),
        (("--engine", "ray", "--gpus", "2"), "--engine ray starts the ranks of a cluster, and --gpus those of"),
        (("--engine", "ray", "--ranks", "2"), "and --ranks those of this host: leave one out"),
        (("--engine", "ray", "--device", "cuda:1"), "--engine ray gives each actor a GPU"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(options, sentence, capsys):
    assert main(["embed", *OPTIONS, *options]) == 2
    assert sentence in capsys.readouterr().err


def test_a_rank_of_another_launcher_starts_no_actors(capsys, monkeypatch):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    assert main(["embed", *OPTIONS, "--engine", "ray"]) == 2
    assert "--engine ray starts ranks, and this is rank 0 of 2 (torchrun) already" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named_first(tmp_path, capsys):
    (tmp_path / "a.faa").write_text(">a\nACD\n")
    options = ("--fasta", str(tmp_path / "a.faa"), "--model", "8M", "--output-dir", "/proc/1/vectors")
    assert main(["embed", *options, "--engine", "ray"]) == 1
    assert "cannot write into /proc/1/vectors" in capsys.readouterr().err


def test_where_ray_is_missing_one_sentence_says_so(tmp_path, capsys):
    (tmp_path / "a.faa").write_text(">a\nACD\n")
    options = ("--fasta", str(tmp_path / "a.faa"), "--model", "8M", "--output-dir", str(tmp_path / "out"))
    assert main(["embed", *options, "--engine", "ray"]) == 1
    assert capsys.readouterr().err.rstrip().endswith("pip install 'virnuc_profiler[ray]'")
