# SPDX-License-Identifier: MIT
"""A run under a real CPU quota, as a container has it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import Command, wait_until
from virnuc_profiler.telemetry.reader import read_telemetry

pytestmark = pytest.mark.slow  # starts whole programs

QUOTA = 0.4
NAME = f"virnuc_profiler_test_{os.getpid()}"
PERIOD_US = 100_000


def make_group() -> Path:
    """Make a control group with the quota, in cgroup v1 or v2."""
    quota_us = round(QUOTA * PERIOD_US)
    v1, v2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    if v1.is_dir():
        (v1 / NAME).mkdir()
        (v1 / NAME / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (v1 / NAME / "cpu.cfs_quota_us").write_text(str(quota_us))
        return v1 / NAME
    (v2 / NAME).mkdir()
    try:
        (v2 / NAME / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
    except OSError:
        (v2 / NAME).rmdir()
        raise
    return v2 / NAME


@pytest.fixture
def group():
    try:
        folder = make_group()
    except OSError as error:
        pytest.skip(f"no control group with a CPU quota can be made here: {error}")
    yield folder
    wait_until(lambda: not (folder / "cgroup.procs").read_text())
    folder.rmdir()


def in_group(group, *arguments):
    """Run the command line in a control group."""
    enter = f"import os, sys; open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid())); "
    return Command(*arguments, program=("-c", f"{enter}from virnuc_profiler.cli.main import main; sys.exit(main())"))


def test_a_profile_under_a_quota_names_it_everywhere(group, tmp_path):
    finished = in_group(
        group, "profile", "--device", "cpu", "--weights", "random", "--num-sequences", 24, "--num-workers", 0,
        "--token-budget", 2048, "--cooldown", 0, "--output-dir", tmp_path,
    ).finish(timeout=300)  # fmt: skip
    assert finished.code == 0, finished.err
    cores = len(os.sched_getaffinity(0))
    assert f"CPU: {QUOTA} of {cores} cores usable, by the quota in {group}/" in finished.out
    [path] = tmp_path.glob("telemetry_*.json")
    telemetry = read_telemetry(path)
    hardware, summary = telemetry["run_metadata"]["hardware"], telemetry["summary"]
    assert (summary["cpu_usable_cores"], summary["cpu_quota_cores"]) == (QUOTA, QUOTA)
    assert summary["cpu_quota_periods"] > 0
    assert (hardware["cpu_usable_cores"], hardware["cpu_quota_cores"]) == (QUOTA, QUOTA)
    assert hardware["cpu_affinity_cores"] == cores
    assert summary["stopped_seconds"] == 0


USED_UP = """
import json, os, subprocess, sys, time
from virnuc_profiler import BatchProfiler, diagnose_run
from virnuc_profiler.analysis.summary.run_summary import run_summary

open(sys.argv[1], "w").write(str(os.getpid()))
others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
with BatchProfiler(device="cpu") as profiler:
    until = time.monotonic() + 4.0
    while time.monotonic() < until:
        batch = profiler.begin_batch()
        batch.mark("forward")
        sum(range(1000))
        batch.end()
for other in others:
    other.kill()
    other.wait()
print(json.dumps(run_summary(profiler.result)))
"""


def test_a_used_up_quota_is_the_bottleneck_and_no_stop(group):
    """Other processes of the group use up the quota, however busy the machine is."""
    quota = "cpu.max" if (group / "cpu.max").exists() else "cpu.cfs_quota_us"
    (group / quota).write_text("5000 100000" if quota == "cpu.max" else "5000")
    done = subprocess.run(
        [sys.executable, "-c", USED_UP, str(group / "cgroup.procs")], capture_output=True, text=True, check=True
    )
    summary = json.loads(done.stdout)
    assert summary["cpu_quota_cores"] == 0.05
    assert 0.5 * summary["cpu_quota_periods"] < summary["cpu_throttled_periods"] <= summary["cpu_quota_periods"]
    assert summary["cpu_throttled_seconds"] > 0
    assert summary["bound_by"] == "cpu_quota"
    assert "bound by its CPU quota of 0.05 cores" in summary["diagnosis"]
    assert summary["stopped_seconds"] == 0


def test_the_doctor_under_a_quota(group, tmp_path):
    finished = in_group(group, "doctor", "--json", "--output-dir", tmp_path).finish(timeout=300)
    [check] = [check for check in json.loads(finished.out)["checks"] if check["name"] == "CPU"]
    assert check["state"] == "missing"
    assert check["found"].startswith(f"{QUOTA} of {len(os.sched_getaffinity(0))} cores usable")
