# SPDX-License-Identifier: MIT
"""Runs on simulated machines of known speed, through the real loader, packer and runner, are compared truthfully."""

import json

import pytest

from tests.support.simulated_machine import SimulatedMachine, workload_in_order
from virnuc_profiler.analysis.model_cost import ModelShape
from virnuc_profiler.cli.main import main
from virnuc_profiler.sweep.trial.run import measure_configuration
from virnuc_profiler.targets.knobs.configuration import BASELINE

SHAPE = ModelShape(6, 320)


def measure(monkeypatch, folder, sequences=1000, slowdown=1.0, start_up_s=1.0):
    """Run a machine that is slower by a factor, and return the folder of its run."""
    machine = SimulatedMachine(flops_per_second=1e12 / slowdown, shape=SHAPE, start_up_s=start_up_s)
    machine.install(monkeypatch)
    path = workload_in_order(folder.parent, sequences, "shuffled")
    result = measure_configuration(BASELINE.replace(num_workers=0), path, folder, machine, "cpu", cooldown_s=0.0)
    assert result.succeeded
    return folder


def compared(capsys, *paths):
    assert main(["compare", *map(str, paths), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    return document["verdict"], {one["metric"]: one for one in document["metrics"]}


def test_a_machine_that_is_three_percent_slower_per_batch(monkeypatch, capsys, tmp_path):
    before = measure(monkeypatch, tmp_path / "before")
    after = measure(monkeypatch, tmp_path / "after", slowdown=1.03)
    verdict, metrics = compared(capsys, before, after)
    assert verdict == "SLOWER"
    steady = metrics["steady_tokens_per_sec"]
    assert steady["ratio"] == pytest.approx(1 / 1.03, abs=0.001)
    assert steady["low"] - 1e-6 <= 1 / 1.03 <= steady["high"] + 1e-6
    assert metrics["packing_efficiency"]["verdict"] == "SAME"


def test_machines_of_equal_speed_are_the_same_whatever_their_start_up(monkeypatch, capsys, tmp_path):
    before = measure(monkeypatch, tmp_path / "before")
    after = measure(monkeypatch, tmp_path / "after", start_up_s=20.0)
    verdict, metrics = compared(capsys, before, after)
    assert verdict == "SAME"
    assert metrics["start_up_seconds"]["ratio"] > 10


def test_runs_of_ten_batches_cannot_be_told_apart(monkeypatch, capsys, tmp_path):
    before = measure(monkeypatch, tmp_path / "before", sequences=180)
    after = measure(monkeypatch, tmp_path / "after", sequences=180, slowdown=1.5)
    verdict, metrics = compared(capsys, before, after)
    assert verdict == "CANNOT TELL"
    assert metrics["steady_tokens_per_sec"]["reason"] == "too short"
