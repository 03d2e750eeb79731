# SPDX-License-Identifier: MIT
"""Workers that die, raise or run out of memory: each is classified with evidence, and no process is left."""

import faulthandler
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import faulty_sequences as faults
from tests.support.faulty_sequences import run_with
from virnuc_profiler.sweep.trial.cleanup import child_processes

pytestmark = pytest.mark.slow  # starts whole programs

ROOT = Path(__file__).parents[2]


def assert_failed(result, reason, memory=None):
    assert (result["status"], result["reason"], result["outcome"]) == ("failed", reason, reason), result["message"]
    assert result.get("memory") == memory
    assert result["cleanup"]["clean"], result["cleanup"]
    assert child_processes() == set()
    json.dumps(result, allow_nan=False)


def test_a_healthy_run_leaves_nothing(monkeypatch, tmp_path):
    result = run_with(monkeypatch, tmp_path)
    assert (result["status"], result["outcome"]) == ("success", "ok")
    assert result["evidence"]["sequences"] == 3000
    assert result["cleanup"]["clean"], result["cleanup"]
    assert result["cleanup"]["descriptors_left"] == result["cleanup"]["shared_memory_left"] == []


@pytest.mark.parametrize("in_all", [False, True])
def test_killed_workers_are_a_crash_with_pid_and_signal(monkeypatch, tmp_path, in_all):
    result = run_with(monkeypatch, tmp_path, faults.be_killed, in_all=in_all)
    assert_failed(result, "worker_crash")
    assert result["evidence"]["signal"] == "SIGKILL"
    assert result["evidence"]["pid"] > 1
    assert result["evidence"]["worker"] in (0, 1)


def test_a_worker_that_raises_names_its_exception(monkeypatch, tmp_path):
    result = run_with(monkeypatch, tmp_path, faults.raise_an_error)
    assert_failed(result, "worker_crash")
    assert result["evidence"]["exception"] == "LookupError"
    assert "the moon is full" in result["message"]


def test_a_bus_error_is_out_of_shared_memory(monkeypatch, tmp_path):
    result = run_with(monkeypatch, tmp_path, faults.get_a_bus_error)
    assert_failed(result, "OOM", "shared memory")
    assert result["evidence"]["signal"] == "SIGBUS"
    assert result["evidence"]["shared_memory_free_bytes"] > 0


def test_a_worker_at_its_address_space_limit_is_out_of_host_memory(monkeypatch, tmp_path):
    assert_failed(run_with(monkeypatch, tmp_path, faults.allocate_within_a_limit), "OOM", "host")


def test_an_oom_kill_is_distinguished_from_other_kills(monkeypatch, tmp_path):
    # Without permission to create a control group, the test itself raises the kernel's counter.
    counts = iter([{"/proc/vmstat": 3}, {"/proc/vmstat": 4}])
    for place in ("trial.trial_run", "machine.oom_kills"):  # the reads before and after the trial
        monkeypatch.setattr(f"virnuc_profiler.sweep.{place}.oom_kills", lambda: next(counts))
    result = run_with(monkeypatch, tmp_path, faults.be_killed)
    assert_failed(result, "OOM", "host")
    assert result["evidence"]["oom_kills"] == {"/proc/vmstat": 1}
    assert result["evidence"]["signal"] == "SIGKILL"


GROUP = Path("/sys/fs/cgroup/memory") / f"virnuc_profiler_test_{os.getpid()}"


@pytest.fixture
def memory_group():
    """A cgroup v1 control group with a limit of 600 MiB."""
    try:
        GROUP.mkdir()
        (GROUP / "memory.limit_in_bytes").write_text(str(600 << 20))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield GROUP
    while (GROUP / "cgroup.procs").read_text():  # the forkserver ends shortly after its owner
        time.sleep(0.01)
    GROUP.rmdir()


def in_fresh_process(fault: str, folder: Path, *before: str) -> dict:
    source = (
        "import json, sys, pytest\nfrom pathlib import Path\n"
        "from tests.support import faulty_sequences as faults\n"
        "with pytest.MonkeyPatch.context() as patch:\n"
        f"    result = faults.run_with(patch, Path(sys.argv[1]), faults.{fault})\n"
        "print(json.dumps(result))\n"
    )
    command = [*before, sys.executable, "-c", source, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_worker_that_the_oom_killer_kills(memory_group, tmp_path):
    enter = f'echo $$ > {memory_group}/cgroup.procs; exec "$@"'
    result = in_fresh_process("allocate_until_killed", tmp_path, "sh", "-c", enter, "sh")
    assert (result["reason"], result.get("memory")) == ("OOM", "host"), result
    assert result["evidence"]["signal"] == "SIGKILL"
    assert all(count > 0 for count in result["evidence"]["oom_kills"].values())


@pytest.mark.parametrize("fault", ["fill_shared_memory", "share_a_large_tensor"])
def test_too_small_dev_shm(tmp_path, fault):
    probe = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no mount namespace can be made here: {probe.stderr.decode()}")
    mount = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    result = in_fresh_process(fault, tmp_path, "unshare", "-m", "sh", "-c", mount, "sh")
    assert (result["reason"], result.get("memory")) == ("OOM", "shared memory"), result
    assert result["evidence"]["shared_memory_free_bytes"] is not None


def test_the_bus_error_fault_raises_a_real_signal():
    child = os.fork()
    if child == 0:
        faulthandler.disable()  # faulthandler would print a confusing stack of pytest
        faults.get_a_bus_error()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGBUS
