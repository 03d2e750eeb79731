# SPDX-License-Identifier: MIT
"""Whole sweeps of targets as a user has them: with faults, killed and resumed, and ended with Ctrl-C."""

import json
import os
import signal
from collections import Counter

import pytest

from tests.support import target_cases
from tests.support.command import Command, run, wait_until
from virnuc_profiler.sweep.results.journal import JOURNAL_FILE, read_journal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(params=target_cases.parameters())
def sweep_of(request, tmp_path):
    """Return a function that gives the arguments of a sweep of the case over faults."""
    known = target_cases.CASES[request.param]

    def arguments(*faults, steps="baseline,grid", more=()):
        model = () if known.model is None else ("--model", known.model)
        knobs = (("fault", ",".join(faults)), *known.knobs.items())
        return (
            "sweep", "--target", f"tests.support.faulty_target:{request.param}", *model, "--weights", known.weights,
            "--device", "cpu", "--num-sequences", "40", "--cooldown", "0", "--trial-seconds", "0", "--steps", steps,
            *(word for name, value in knobs for word in ("--knob", f"{name}={str(value).lower()}")),
            "--output-dir", tmp_path / "out", *more,
        )  # fmt: skip

    return arguments


def trials_of(folder):
    if not (folder / JOURNAL_FILE).exists():
        return []
    return [trial for record in read_journal(folder) for trial in record.trials]


def is_running(command, command_line):
    """Return whether one of the processes of a command has this command line."""
    return command_line in command.left_behind(within_s=0.0)


def test_a_sweep_over_faults_goes_on_and_says_what_happened_to_each(sweep_of, tmp_path):
    faults = {
        "none": None, "oom_host": "OOM", "killed": "error", "hang": "timeout", "loader_worker": "worker_crash",
        "too_few": "error", "prints": None,
    }  # fmt: skip
    finished = run(*sweep_of(*faults, more=("--progress-timeout", "5")), timeout=500)
    assert finished.code == 0, finished.err
    results = [trial.result for trial in trials_of(tmp_path / "out") if trial.step == "grid"]
    assert {one.configuration["fault"]: one.reason for one in results} == faults
    assert "a line of" not in finished.out + finished.err
    log = next((tmp_path / "out" / "telemetry" / "grid").glob("output_*fault=prints*.log"))
    assert "a line of a child" in log.read_text()
    reported = run("report", tmp_path / "out")
    assert reported.code == 0, reported.err
    for fault in faults:
        assert f"fault={fault}" in reported.out or fault in reported.out
    page = run("report", next((tmp_path / "out" / "telemetry" / "baseline").glob("run_*.json")))
    assert "Target: " in page.out
    assert "Diagnosis" in page.out


def test_a_killed_sweep_leaves_nothing_and_goes_on_where_it_was(sweep_of, tmp_path):
    folder = tmp_path / "out"
    command = Command(*sweep_of("none", "error", "busy", "prints"))
    wait_until(lambda: len(trials_of(folder)) == 3 and is_running(command, "sleep 600"))
    os.kill(command.process.pid, signal.SIGKILL)
    command.finish()
    assert command.left_behind() == []
    kept = trials_of(folder)
    assert len(kept) == 3
    finished = run("sweep", "--resume", folder, "--progress-timeout", "5", timeout=500)
    assert finished.code == 0, finished.err
    trials = trials_of(folder)
    assert trials[:3] == kept
    assert set(Counter((trial.step, trial.configuration) for trial in trials).values()) == {1}
    assert [trial.result.reason for trial in trials] == [None, None, "error", "timeout", None]
    assert json.loads((folder / "grid_sweep.json").read_text())["target"]["name"]


def test_ctrl_c_ends_a_sweep_and_keeps_what_was_measured(sweep_of, tmp_path):
    folder = tmp_path / "out"
    command = Command(*sweep_of("none", "slow"))
    wait_until(lambda: len(trials_of(folder)) == 2)
    command.interrupt()
    finished = command.finish()
    assert finished.code == 1, finished.err
    assert "stopped; what was measured until then is in" in finished.error
    assert command.left_behind() == []
    assert "Traceback" not in finished.err
    assert [trial.result.succeeded for trial in trials_of(folder)] == [True, True]
