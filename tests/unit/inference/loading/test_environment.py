# SPDX-License-Identifier: MIT
"""Failures of the machine are not failures of a run, and name their cause and the way out."""

import errno
import json
import multiprocessing
import resource
import subprocess
import sys
import threading

import pytest

from virnuc_profiler.errors import EnvironmentFailure, WorkerCrash
from virnuc_profiler.inference.loading import environment
from virnuc_profiler.inference.loading.environment import (
    environment_failure,
    require_environment,
    semaphore_problem,
    temporary_folder_problem,
)


def raised(function, *arguments):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        function(*arguments)
    return caught.value


def refuse(code):
    def refusing(*_arguments, **_options):
        raise OSError(code, errno.errorcode[code])

    return refusing


def test_this_machine_can_run_workers():
    require_environment(4)
    assert semaphore_problem() is None
    assert temporary_folder_problem() is None


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOENT, errno.ENOSPC])
def test_semaphores_that_cannot_be_made_are_the_machines_fault(monkeypatch, code):
    monkeypatch.setattr(multiprocessing.synchronize, "SemLock", refuse(code))
    monkeypatch.setattr(multiprocessing.synchronize.Lock, "__init__", refuse(code))
    error = raised(multiprocessing.get_context("forkserver").Lock)
    failure = environment_failure(error, 2)
    assert "need semaphores in /dev/shm" in str(failure)
    assert "--num-workers 0" in str(failure)
    assert ("--shm-size" in str(failure)) == (code == errno.ENOSPC)
    assert environment_failure(error, 0) is None
    with pytest.raises(EnvironmentFailure, match="need semaphores"):
        require_environment(1)
    require_environment(0)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_temporary_files_that_cannot_be_written_are_the_machines_fault(monkeypatch, code):
    monkeypatch.setattr(environment.tempfile, "TemporaryFile", refuse(code))
    failure = environment_failure(raised(environment.tempfile.TemporaryFile))
    assert "no temporary file can be written" in str(failure)
    assert "set TMPDIR" in str(failure)
    with pytest.raises(EnvironmentFailure):
        require_environment(0)


def test_a_thread_that_cannot_start_is_a_limit_and_the_limit_is_named(monkeypatch, tmp_path):
    group = tmp_path / "job"
    group.mkdir()
    (group / "pids.current").write_text("512\n")
    (group / "pids.max").write_text("512\n")
    monkeypatch.setattr(environment, "control_groups", lambda name: (group, tmp_path) if name == "pids" else ())

    def no_thread(*_arguments, **_options):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading, "_start_new_thread", no_thread)
    failure = environment_failure(raised(threading.Thread().start), 8)
    assert "512 of 512 processes and threads of the control group (pids.max) are in use" in str(failure)
    assert "smaller --num-workers" in str(failure)
    assert "--num-workers" not in str(environment_failure(raised(threading.Thread().start)))


def test_a_lost_forkserver_at_the_limit_is_that_limit(monkeypatch):
    assert "its own output says why" in str(environment_failure(EOFError("unexpected EOF"), 2))
    monkeypatch.setattr(environment.os, "posix_spawn", refuse(errno.EAGAIN))
    assert "refuses to start another process" in str(environment_failure(EOFError("unexpected EOF"), 2))


def test_a_lock_that_another_process_holds_is_no_limit():
    assert environment_failure(BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), 4) is None
    assert environment_failure(FileNotFoundError(errno.ENOENT, "No such file", "/a.fasta"), 4) is None
    assert environment_failure(ValueError("the moon is full"), 4) is None


def test_too_many_open_files_are_a_limit_also_in_a_worker():
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    crash = WorkerCrash("a DataLoader worker raised OSError: [Errno 24] Too many open files", exception="OSError")
    for error in (OSError(errno.EMFILE, "Too many open files"), crash):
        assert f"only {soft:,} files" in str(environment_failure(error, 2))


PROGRAM = """
import json, os, resource, sys
from tests.support.faulty_sequences import Model, write_fasta
from pathlib import Path
from virnuc_profiler import run_single_gpu_benchmark

if __name__ == "__main__":
    fasta = write_fasta(Path(sys.argv[1]), 20)
    import esm, torch._dynamo  # noqa: opens files of its own
    used = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 40, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    result = run_single_gpu_benchmark(fasta, sys.argv[1], Model(), "cpu", num_workers=16, cooldown_s=0)
    print("\\n" + json.dumps([result["status"], result["reason"], result["message"]]))
"""


def test_a_trial_that_reaches_the_file_limit_has_an_outcome_of_its_own(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run([sys.executable, program, tmp_path], capture_output=True, text=True, check=True)
    status, reason, message = json.loads(done.stdout.splitlines()[-1])
    assert (status, reason) == ("failed", "environment")
    assert "raise the limit with ulimit -n" in message
