# SPDX-License-Identifier: MIT
"""``profile``: it measures the file that it announced, alone in its folder, and loses no earlier run."""

import os
import re

import pytest
import torch

from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler.cli.main import main
from virnuc_profiler.inference.esm2 import load as loading
from virnuc_profiler.sweep.results.folder_lock import FolderLock
from virnuc_profiler.sweep.results.journal import Journal
from virnuc_profiler.sweep.trial import measured_model
from virnuc_profiler.telemetry.reader import read_telemetry
from virnuc_profiler.telemetry.run_result import RunResult

SMALL = (
    "--device", "cpu", "--model", "8M", "--weights", "random", "--num-workers", "0", "--cooldown", "0",
)  # fmt: skip
RUN_ID = "tune_0w_4pf_4096tb_2000bs"


@pytest.fixture
def fasta(tmp_path):
    return write_fasta(tmp_path / "own.faa", random_records(12, longest=40))


def profile(capsys, *argv):
    code = main(["profile", *SMALL, *map(str, argv)])
    output = capsys.readouterr()
    return code, output.out, output.err


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def replace(path):
    write_fasta(path.with_name("new.faa"), random_records(3)).rename(path)


@pytest.mark.parametrize(("change", "how"), [(cut, "truncated"), (replace, "replaced by another file")])
def test_a_file_that_changes_while_the_model_loads_is_not_measured(fasta, tmp_path, capsys, monkeypatch, change, how):
    load = loading.load_esm2_model
    monkeypatch.setattr(loading, "load_esm2_model", lambda *args, **options: (change(fasta), load(*args, **options))[1])
    code, out, err = profile(capsys, "--fasta", fasta, "--output-dir", tmp_path / "out")
    assert "Workload: 12 sequences of" in out
    assert code == 2
    assert f"{fasta} was {how} while it was in use" in err
    assert list((tmp_path / "out").glob("*.json")) == []


def test_an_earlier_run_in_the_folder_is_kept(fasta, tmp_path, capsys):
    out = tmp_path / "out"
    for number, count in enumerate((2, 3, 4)):
        code, text, err = profile(capsys, "--fasta", fasta, "--num-sequences", count, "--output-dir", out)
        assert code == 0, err
        assert text.count("of an earlier run is now") == (2 if number else 0)
    kept = {name: RunResult.load(out / f"run_{RUN_ID}{name}.json").total_sequences
            for name in ("", ".earlier-1", ".earlier-2")}  # fmt: skip
    assert kept == {"": 4, ".earlier-1": 2, ".earlier-2": 3}
    telemetry = read_telemetry(out / f"telemetry_{RUN_ID}.earlier-1.json")
    assert telemetry["summary"]["total_sequences"] == 2


def test_a_folder_in_which_a_sweep_runs_is_refused(fasta, tmp_path, capsys):
    with Journal(tmp_path):
        code, _, err = profile(capsys, "--fasta", fasta, "--output-dir", tmp_path)
    assert code == 1
    assert f"{tmp_path} is in use by another sweep: process {os.getpid()} on" in err


@pytest.mark.parametrize("command", ["profile", "sweep"])
def test_a_folder_in_which_a_profile_runs_is_refused(fasta, tmp_path, capsys, command):
    with FolderLock(tmp_path, "profile"):
        code = main([command, *SMALL, "--fasta", str(fasta), "--output-dir", str(tmp_path)])
    assert code == 1
    assert f"{tmp_path} is in use by another profile: process {os.getpid()} on" in capsys.readouterr().err


def test_a_number_of_sequences_takes_a_sample_and_says_so(fasta, tmp_path, capsys):
    code, text, err = profile(
        capsys, "--fasta", fasta, "--num-sequences", 4, "--seed", 7, "--output-dir", tmp_path / "out"
    )
    assert code == 0, err
    (line,) = [line for line in text.splitlines() if line.startswith("Workload:")]
    assert "a random sample of 4 of 12 sequences" in line
    assert "one of each of 4 strata of length, seed 7, a mean of " in line
    assert line.endswith("; --first takes the first 4; --num-sequences N changes that")
    run = RunResult.load(tmp_path / "out" / f"run_{RUN_ID}.json")
    workload = run.metadata["workload"]
    assert (run.total_sequences, run.total_tokens) == (4, workload["tokens"])
    assert (workload["sampling"], workload["seed"]) == ("stratified", 7)
    assert sum(workload["length_strata"]["sequences"]) == 4
    assert sum(workload["length_strata"]["tokens"]) == workload["tokens"]


def test_records_that_are_left_out_do_not_part_a_sample_from_its_description(fasta, tmp_path, capsys):
    fasta.write_text(fasta.read_text() + ">empty\n")
    _, text, err = profile(capsys, "--fasta", fasta, "--num-sequences", 4, "--skip-invalid", "--output-dir", tmp_path)
    (line,) = [line for line in text.splitlines() if line.startswith("Workload:")]
    assert re.search(r" tokens: one of each of 4 strata of length, ", line), err
    assert "; 1 invalid record is left out, see skipped_records.tsv; --num-sequences N changes that" in line


def test_the_first_sequences_are_taken_if_they_are_asked_for(fasta, tmp_path, capsys):
    code, text, err = profile(
        capsys, "--fasta", fasta, "--num-sequences", 4, "--first", "--output-dir", tmp_path / "out"
    )
    assert code == 0, err
    assert "Workload: the first 4 of 12 sequences" in text
    workload = RunResult.load(tmp_path / "out" / f"run_{RUN_ID}.json").metadata["workload"]
    assert workload["tokens"] == sum(len(record[-1]) + 2 for record in random_records(12, longest=40)[:4])
    assert "sampling" not in workload


def test_all_of_a_small_file_can_be_run_in_random_order(fasta, tmp_path, capsys):
    code, text, err = profile(capsys, "--fasta", fasta, "--num-sequences", 99, "--output-dir", tmp_path / "out")
    assert code == 0, err
    assert "Workload: 12 sequences of" in text
    assert "in random order (seed 42), --first keeps that of the file" in text


def test_kernels_without_a_gpu_say_so_and_the_run_is_complete(fasta, tmp_path, capsys):
    code, text, err = profile(capsys, "--fasta", fasta, "--output-dir", tmp_path / "out", "--kernels", 5)
    assert code == 0
    assert "no kernels were captured: without a GPU, CUPTI has nothing to record (the run is on the CPU)" in err
    assert "Verdict:" in text
    assert RunResult.load(tmp_path / "out" / f"run_{RUN_ID}.json").kernels is None


def test_a_capture_that_fails_leaves_the_measured_run_and_its_page(fasta, tmp_path, capsys, monkeypatch):
    def out_of_memory(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(measured_model, "save_kernels", out_of_memory)
    code, text, err = profile(capsys, "--fasta", fasta, "--output-dir", tmp_path / "out", "--kernels", 5)
    assert code == 0
    assert "no kernels were captured, because the batches failed, OutOfMemoryError: CUDA out of memory" in err
    assert "Verdict:" in text
    assert RunResult.load(tmp_path / "out" / f"run_{RUN_ID}.json").kernels is None


@pytest.mark.parametrize("other", ["--nsys", "--capture-range"])
def test_kernels_and_nsight_are_not_captured_at_once(fasta, tmp_path, capsys, other):
    code, _, err = profile(capsys, "--fasta", fasta, "--output-dir", tmp_path / "out", "--kernels", other)
    assert code == 2
    assert "both need CUPTI, which serves one tool at a time" in err
