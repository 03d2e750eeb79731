# SPDX-License-Identifier: MIT
"""``profile --nsys`` with a stand-in for nsys."""

import json
import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from tests.support.command import Command, run, wait_until
from virnuc_profiler.capture.profiler import BatchProfiler
from virnuc_profiler.cli.main import main
from virnuc_profiler.cli.nsys import profile_command
from virnuc_profiler.sweep.results.folder_lock import FolderLock
from virnuc_profiler.sweep.trial import trial_run as trial

pytestmark = pytest.mark.slow  # starts whole programs

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "--device", "cpu", "--weights", "random", "--num-sequences", "4", "--cooldown", "0", "--num-workers", "0",
)  # fmt: skip
RUN_ID = "tune_0w_4pf_4096tb_2000bs"


@pytest.fixture
def nsys(tmp_path):
    """An environment with a fake nsys on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "nsys"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tests.support.fake_nsys "$@"\n')
    script.chmod(0o755)
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def test_it_captures_exports_and_correlates(nsys, tmp_path):
    out = tmp_path / "out"
    finished = run("profile", *SMALL, "--nsys", "--output-dir", out, env=nsys)
    assert finished.code == 0, finished.err
    assert f"Run {RUN_ID} in Nsight Systems" in finished.out
    assert "Batches: 1 in the run, 1 in the capture, 1 matched" in finished.out
    assert finished.out.splitlines()[-1] == f"Results: {out}"
    command = (out / f"nsys_{RUN_ID}.nsys-rep").read_text()
    assert "--capture-range=cudaProfilerApi --capture-range-end=stop" in command
    assert "--nsys" not in command
    assert "--capture-range" in command
    document = json.loads((out / f"nsys_{RUN_ID}.json").read_text())
    assert document["run"]["run_id"] == RUN_ID
    assert document["batches"] == {"in_run": 1, "in_capture": 1, "matched": 1}


def test_a_folder_with_all_that_a_name_may_hold(nsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "a b 'c' \"d\" $(touch gone);\n\x1b[2J é"
    finished = run("profile", *SMALL, "--nsys", "--output-dir", out, env=nsys)
    assert finished.code == 0, finished.err
    assert all(line.isprintable() for line in finished.out.split("\n"))
    assert (out / f"nsys_{RUN_ID}.json").is_file()
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(("failure", "words"), [("import", "QdstrmImporter"), ("export", "out of luck")])
def test_without_a_capture_what_was_measured_is_kept(nsys, tmp_path, failure, words):
    out = tmp_path / "out"
    finished = run("profile", *SMALL, "--nsys", "--output-dir", out, env={**nsys, "FAKE_NSYS_FAILS": failure})
    assert finished.code == 1
    assert words in finished.error
    assert f"what was measured is in {out}" in finished.error
    assert (out / f"run_{RUN_ID}.json").exists()
    assert (out / f"telemetry_{RUN_ID}.json").exists()


def test_a_run_that_cannot_begin_has_the_last_word(nsys, tmp_path):
    argv = ("--fasta", tmp_path / "absent.fasta", "--nsys", "--output-dir", tmp_path / "out")
    finished = run("profile", *SMALL, *argv, env=nsys)
    assert finished.code == 2
    assert "absent.fasta" in finished.error


def test_without_nsys_it_says_what_to_run(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "out"
    assert main(["profile", "--model", "8M", "--nsys", "--output-dir", str(out)]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "nsys is not on PATH" in told.err
    profile, export, correlate = told.out.splitlines()
    report = out / "nsys_tune_4w_4pf_4096tb_2000bs"
    assert profile.endswith(f" profile --model 8M --output-dir {out} --capture-range")
    assert f"-o {report} " in profile
    assert export == f"nsys export -t sqlite -o {report}.sqlite --force-overwrite true {report}.nsys-rep"
    assert shlex.split(correlate)[-2:] == [str(out / "run_tune_4w_4pf_4096tb_2000bs.json"), f"{report}.sqlite"]
    assert not out.exists()


@pytest.mark.parametrize("option", ["--nsys", "--nsy", "--ns"])
def test_the_captured_command_does_not_capture_itself(option):
    argv = ["profile", "--num-workers", "0", option, "--num-sequences", "4"]
    command = profile_command(argv, Path("out/nsys_a.nsys-rep"), Path("out"))
    own = command[command.index(sys.executable) :]
    assert own == [
        sys.executable, "-m", "virnuc_profiler", "profile", "--num-workers", "0", "--num-sequences", "4",
        "--capture-range", "--output-dir", "out",
    ]  # fmt: skip


def test_the_capture_range_is_around_the_measured_run_and_not_the_warm_up(tmp_path, monkeypatch):
    bracketed = []

    class Spy(BatchProfiler):
        def __init__(self, **options):
            bracketed.append(options.get("capture_range"))
            super().__init__(**options)

    monkeypatch.setattr(trial, "BatchProfiler", Spy)
    assert main(["profile", *SMALL, "--capture-range", "--output-dir", str(tmp_path / "a")]) == 0
    assert main(["profile", *SMALL, "--output-dir", str(tmp_path / "b")]) == 0
    assert bracketed == [False, True, False, False]


def test_a_stopped_command_lets_nsys_finish(nsys, tmp_path):
    out = tmp_path / "out"
    argv = ("--num-sequences", "400", "--nsys", "--output-dir", out)
    command = Command("profile", *SMALL, *argv, env=nsys)
    wait_until(lambda: any(out.glob("*.fasta")))
    time.sleep(4)  # somewhere between the import of PyTorch and the last batch
    command.interrupt()
    finished = command.finish()
    assert command.left_behind() == []
    assert finished.code == 1
    assert "Traceback" not in finished.err
    assert f"what was measured until then is in {out}" in finished.err


def test_a_second_capture_in_the_folder_keeps_the_first(nsys, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        finished = run("profile", *SMALL, "--nsys", "--output-dir", out, env=nsys)
        assert finished.code == 0, finished.err
    for name in (f"run_{RUN_ID}.json", f"telemetry_{RUN_ID}.json", f"nsys_{RUN_ID}.json", f"nsys_{RUN_ID}.nsys-rep"):
        stem, _, end = name.rpartition(".")
        assert (out / name).exists()
        assert (out / f"{stem}.earlier-1.{end}").exists()
        assert f"{name} of an earlier run is now" in finished.out


@pytest.mark.parametrize("lock", ["journal.lock", "nsys.lock"])
def test_a_folder_in_use_is_refused_before_anything_is_moved(nsys, tmp_path, lock):
    (tmp_path / f"run_{RUN_ID}.json").write_text("earlier")
    with FolderLock(tmp_path, "profile", lock):
        finished = run("profile", *SMALL, "--nsys", "--output-dir", tmp_path, env=nsys)
    assert finished.code == 1
    assert f"{tmp_path} is in use by another profile" in finished.error
    assert (tmp_path / f"run_{RUN_ID}.json").read_text() == "earlier"
