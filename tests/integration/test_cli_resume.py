# SPDX-License-Identifier: MIT
"""Sweeps that are interrupted, locked out, or lose their disk or their file, through the real command line."""

import json
import platform
import subprocess

import pytest

from tests.support.command import SMALL, Command, run, wait_until
from virnuc_profiler.sweep.results.journal import JOURNAL_FILE, read_journal

FEW = (*SMALL, "--steps", "dataloader")


def trials_of(folder):
    return [trial for record in read_journal(folder) for trial in record.trials]


def has_trials(folder, count):
    path = folder / JOURNAL_FILE
    return path.exists() and path.read_bytes().count(b"\n") >= 2 + count


@pytest.mark.slow
def test_an_interrupted_sweep_is_resumed_and_meanwhile_nobody_else_may_have_its_folder(tmp_path):
    command = Command("sweep", *FEW, "--output-dir", tmp_path)
    wait_until(lambda: has_trials(tmp_path, 1))
    holder = f"process {command.process.pid} on {platform.node()}, since 20"
    for arguments in ((*FEW, "--output-dir", tmp_path), ("--resume", tmp_path)):
        second = run("sweep", *arguments)
        assert second.code == 1
        assert f"{tmp_path} is in use by another sweep: {holder}" in second.error
    command.interrupt()
    finished = command.finish()
    assert command.left_behind() == []
    kept = trials_of(tmp_path)
    if finished.code != 0:  # it may just have ended
        assert f"sweep --resume {tmp_path} continues it" in finished.error
    resumed = run("sweep", "--resume", tmp_path)
    assert resumed.code == 0, resumed.err
    assert f"Resumed: {len(kept)} finished, {3 - len(kept)} to run" in resumed.out
    assert trials_of(tmp_path)[: len(kept)] == kept
    assert json.loads((tmp_path / "dataloader_sweep.json").read_text())["complete"] is True


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, and how to remount it with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        arguments = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        return subprocess.run(arguments, capture_output=True, text=True, check=False)

    mounted = mount("size=64k")
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.strip()}")
    yield folder, mount
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.slow
def test_a_full_disk_keeps_what_is_finished_and_a_read_only_one_can_be_reported_on(disk):
    folder, mount = disk
    finished = run("sweep", *SMALL, "--output-dir", folder)
    assert finished.code == 1
    assert "No space left on device" in finished.error
    kept = trials_of(folder)
    assert kept
    assert mount("remount,ro").returncode == 0
    report = run("report", folder)
    assert (report.code, report.out.startswith("Baseline Configuration")) == (0, True)
    refused = run("sweep", "--resume", folder)
    assert refused.code == 1
    assert "Read-only file system" in refused.error
    assert mount("remount,rw,size=16m").returncode == 0
    resumed = run("sweep", "--resume", folder)
    assert resumed.code == 0, resumed.err
    assert trials_of(folder)[: len(kept)] == kept
    assert len(trials_of(folder)) == 7


@pytest.mark.slow
def test_a_file_of_sequences_that_is_replaced_meanwhile_ends_the_sweep(tmp_path):
    own, folder = tmp_path / "own.faa", tmp_path / "out"
    text = "".join(f">s{number}\n{'MKVL' * 20}\n" for number in range(8))
    own.write_text(text)
    command = Command("sweep", *FEW, "--fasta", own, "--output-dir", folder)
    wait_until(lambda: has_trials(folder, 1))
    other = tmp_path / "other.faa"
    other.write_text(text[: len(text) // 2])
    other.replace(own)
    finished = command.finish()
    assert command.left_behind() == []
    assert finished.code == 2
    assert f"{own} was changed, truncated or replaced since the sweep began" in finished.error
    assert f"are kept in {folder}" in finished.error
    refused = run("sweep", "--resume", folder)
    assert refused.code == 2
    assert "put the file back" in refused.error
    own.write_text(text)
    resumed = run("sweep", "--resume", folder)
    assert resumed.code == 0, resumed.err
    assert len(trials_of(folder)) == 3
