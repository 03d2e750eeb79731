# SPDX-License-Identifier: MIT
"""Deliberate leaks: clean-up names them, and later runs are contaminated as long as the leaks exist."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support import faulty_sequences as faults
from tests.support.faulty_sequences import HELD, Model, run_with
from virnuc_profiler.sweep.trial import contamination

pytestmark = pytest.mark.slow  # starts whole programs


@pytest.fixture(autouse=True)
def no_recorded_leaks(monkeypatch):
    monkeypatch.setattr(contamination, "_recorded_leaks", [])


def wait_for_end(pid):
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)


def test_open_descriptors_are_named_but_do_not_contaminate(monkeypatch, tmp_path):
    try:
        result = run_with(monkeypatch, tmp_path, faults.leak_descriptors, workers=0)
        cleanup = result["cleanup"]
        assert result["outcome"] == "ok"
        assert not cleanup["clean"]
        assert cleanup["descriptor_growth"] == {"file": 1, "pipe": 2, "socket": 2}
        assert any("left_open_" in name for name in cleanup["descriptors_left"])
        assert run_with(monkeypatch, tmp_path / "next", workers=0)["outcome"] == "ok"
    finally:
        sockets, (file,), pipe = HELD[:2], HELD[2:3], HELD[3]
        for one in (*sockets, file):
            one.close()
        os.close(pipe[0])
        os.close(pipe[1])
        HELD.clear()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_segment_contaminates_until_it_is_gone(monkeypatch, tmp_path, workers):
    first = run_with(monkeypatch, tmp_path, faults.leave_a_segment, workers=workers)
    assert first["outcome"] == "ok"
    (name,) = first["cleanup"]["shared_memory_left"]
    path = Path("/dev/shm", name)
    try:
        second = run_with(monkeypatch, tmp_path / "second")
        assert (second["status"], second["reason"]) == ("failed", "contaminated")
        assert name in second["evidence"]["left_behind"][0]
        assert second["evidence"]["measured_nevertheless"]["outcome"] == "ok"
        assert "sequences_per_sec" not in second
    finally:
        path.unlink(missing_ok=True)
    assert run_with(monkeypatch, tmp_path / "third")["outcome"] == "ok"


def test_segments_that_others_leave_meanwhile_are_not_ours(monkeypatch, tmp_path):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    names = [f"torch_{int(gone.stdout)}_{os.getpid()}_0", f"psm_neighbor_{os.getpid()}"]
    paths = [Path("/dev/shm", name) for name in names]

    class ModelWithNeighbors(Model):
        def __call__(self, *arguments):
            for path in paths:
                path.write_bytes(b"x" * 100)
            return super().__call__(*arguments)

    try:
        first = run_with(monkeypatch, tmp_path, model=ModelWithNeighbors())
        assert all(path.exists() for path in paths)
        assert first["outcome"] == "ok"
        assert first["cleanup"]["shared_memory_left"] == []
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_segments_of_programs_with_the_same_process_ids_are_reported_and_not_punished(monkeypatch, tmp_path, workers):
    paths = []

    class ModelWithNeighbors(Model):
        def __call__(self, *arguments):
            pids = (os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True)))
            for pid in pids if len(paths) == seen else ():
                paths.append(Path(f"/dev/shm/torch_{pid}_{len(paths)}_0"))
                paths[-1].write_bytes(b"x" * 100)
            return super().__call__(*arguments)

    try:
        for number in range(3):
            seen = len(paths)
            result = run_with(monkeypatch, tmp_path / str(number), workers=workers, model=ModelWithNeighbors())
            new = {path.name for path in paths[seen:]}
            assert result["outcome"] == "ok"
            assert result["cleanup"]["clean"] is True
            assert result["cleanup"]["shared_memory_left"] == []
            reported = set(result["cleanup"]["shared_memory_unattributed"])
            assert reported <= new
            assert f"torch_{os.getpid()}_{seen}_0" in reported
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_process_contaminates_until_it_is_gone_even_as_an_orphan_of_a_worker(monkeypatch, tmp_path, workers):
    first = run_with(monkeypatch, tmp_path, faults.leave_a_process, workers=workers)
    (left,) = first["cleanup"]["processes_left"]
    try:
        assert left["command"] == "sleep 600"
        assert first["cleanup"]["workers_left"] == []
        second = run_with(monkeypatch, tmp_path / "second", workers=workers)
        assert second["reason"] == "contaminated"
        assert f"process {left['pid']}" in second["evidence"]["left_behind"][0]
        assert second["cleanup"]["clean"]  # the process existed before this run
    finally:
        os.kill(left["pid"], signal.SIGKILL)
    wait_for_end(left["pid"])
    assert run_with(monkeypatch, tmp_path / "third", workers=workers)["outcome"] == "ok"
