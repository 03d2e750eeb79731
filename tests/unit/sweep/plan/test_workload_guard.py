# SPDX-License-Identifier: MIT
"""A file of sequences that changes while a sweep runs."""

import os
from pathlib import Path

import pytest

from tests.support.sweeps import FakeTrials, fake_sweep, success
from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.sequences import unchanged_file
from virnuc_profiler.sweep.plan.workload import WorkloadGuard, read_workload
from virnuc_profiler.sweep.results.journal import read_journal

GRID = {"num_workers": [2], "prefetch_factor": [2, 4, 8]}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "own.fasta"
    path.write_text(">a\nMKV\n>b\nMKVL\n")
    return path


@pytest.fixture
def readings(monkeypatch):
    """Every reading of a whole file."""
    found = []
    real = unchanged_file.fingerprint_of
    monkeypatch.setattr(unchanged_file, "fingerprint_of", lambda *file: found.append(file[0]) or real(*file))
    return found


def test_an_unchanged_file_is_read_once(path, readings):
    workload = read_workload(path, "file")
    readings.clear()
    guard = WorkloadGuard()
    for _ in range(3):
        guard(workload)
    assert readings == [path]


def test_a_touched_file_is_read_again_and_is_the_same(path, readings):
    workload, guard = read_workload(path, "file"), WorkloadGuard()
    guard(workload)
    readings.clear()
    os.utime(path, ns=(1, 1))
    guard(workload)
    guard(workload)
    assert readings == [path]


def truncate(path: Path):
    os.truncate(path, 7)


def replace_by_rename(path: Path):
    new = path.with_name("new")
    new.write_text(">a\nMKV\n>b\nMKVA\n")
    new.rename(path)


def rewrite_with_the_old_time(path: Path):
    status = path.stat()
    path.write_text(">a\nMKV\n>b\nMKVA\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [truncate, replace_by_rename, rewrite_with_the_old_time])
def test_another_file_is_noticed(path, change):
    workload, guard = read_workload(path, "file"), WorkloadGuard()
    guard(workload)
    change(path)
    with pytest.raises(WorkloadError, match=r"own\.fasta was changed, truncated or replaced.*sha256:.*sha256:"):
        guard(workload)


def test_a_change_before_the_first_check_is_noticed(path):
    workload = read_workload(path, "file")
    truncate(path)
    with pytest.raises(WorkloadError, match="truncated"):
        WorkloadGuard()(workload)


def test_a_file_that_is_gone_is_named(path):
    workload = read_workload(path, "file")
    path.unlink()
    with pytest.raises(WorkloadError, match=r"cannot read .*own\.fasta: No such file"):
        WorkloadGuard()(workload)


def test_a_change_ends_the_sweep_and_what_is_kept_is_said(path, tmp_path):
    def trial(configuration):
        if configuration.prefetch_factor == 8:
            truncate(path)  # while it runs: its result is one of another file
        return success(configuration)

    folder = tmp_path / "out"
    sweep = fake_sweep(
        folder, FakeTrials(trial), workload=read_workload(path, "file"), grid=GRID, check_workload=WorkloadGuard()
    )
    with pytest.raises(WorkloadError) as ended:
        sweep.run(["dataloader"])
    message = str(ended.value)
    assert "the results of 3 finished trials are kept in" in message
    assert f"--resume {folder}" in message
    assert len(read_journal(folder)[-1].trials) == 3


def test_an_unreadable_file_ends_the_sweep_with_the_same_words(path, tmp_path):
    def trial(configuration):
        raise WorkloadError("line 3 is odd")

    sweep = fake_sweep(tmp_path, FakeTrials(trial), workload=read_workload(path, "file"))
    with pytest.raises(WorkloadError, match="line 3 is odd; the sweep ends here, and the results of 0 finished trials"):
        sweep.run(["baseline"])
