# SPDX-License-Identifier: MIT
"""The comparison of a projection with the run that it is about."""

from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.projection_coverage import cells, compared, pairs_inside
from benchmarks.trial_rows import rows_of

import benchmarks
from tests.support.simulated_machine import SimulatedMachine, workload_in_order
from virnuc_profiler.sweep.trial.run import measure_configuration
from virnuc_profiler.targets.knobs.configuration import Configuration


def saved(folder, count, speed, monkeypatch):
    """Return the saved run of a machine of constant speed."""
    machine = SimulatedMachine(tokens_per_second=speed, start_up_s=0.5)
    machine.install(monkeypatch)
    folder.mkdir()
    path = workload_in_order(folder, count, "shuffled")
    result = measure_configuration(Configuration(num_workers=0), path, folder, machine, "cpu", cooldown_s=0.0)
    return Path(result.run_path)


def test_a_run_at_the_same_speed_is_inside_and_one_at_half_the_speed_is_not(tmp_path, monkeypatch):
    short = saved(tmp_path / "short", 400, 100_000, monkeypatch)
    same, slower = (saved(tmp_path / str(speed), 800, speed, monkeypatch) for speed in (100_000, 50_000))
    found = compared(short, same)
    assert found.real_s == pytest.approx(found.projected_s, rel=0.02)
    assert found.inside
    assert not compared(short, slower).inside


def test_each_try_has_a_row(tmp_path, monkeypatch):
    run = saved(tmp_path / "run", 400, 100_000, monkeypatch)
    found = compared(run, run)
    inside, outside = cells([found, replace(found, real_s=2 * found.real_s)])
    assert (inside[0], inside[-1]) == ("1", "yes")
    assert (outside[0], outside[-1]) == ("2", "no")


def test_most_recorded_trials_are_within_the_interval_of_another_one_of_their_configuration():
    found = pairs_inside(rows_of(Path(benchmarks.__file__).parent / "data" / "surface_h200_8m.csv"))
    assert len(found) == 216 * 3 * 2
    assert sum(found) > 0.85 * len(found)  # both are short trials, and from several machines
