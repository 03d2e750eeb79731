# SPDX-License-Identifier: MIT
"""What a sweep minimizes."""

import json

import pytest

from tests.support.sweeps import success
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.targets.knobs.configuration import BASELINE


def test_a_quick_start_does_not_decide_a_long_job():
    quick = success(BASELINE, 90.0, start_up_sec=0.1, steady_sequences_per_sec=100.0)
    slow_start = success(BASELINE, 20.0, start_up_sec=60.0, steady_sequences_per_sec=101.0)
    job = Objective()
    assert job.predicted_sec(quick) == pytest.approx(60_000.1)
    assert job.cost(slow_start) < job.cost(quick)
    assert Objective(sequences=1000).cost(slow_start) > Objective(sequences=1000).cost(quick)


def test_without_a_steady_rate_the_whole_run_counts():
    assert Objective(sequences=1000).cost(success(BASELINE, 50.0)) == 20.0
    assert Objective().cost(success(BASELINE, 50.0, sequences_per_sec=None)) is None


def test_energy_is_unknown_where_no_counter_covers_the_run():
    assert Objective("energy").cost(success(BASELINE)) is None
    assert Objective("energy").cost(success(BASELINE, joules_per_sequence=1.5)) == 1.5


def test_memory_that_was_not_measured_keeps_no_limit():
    assert Objective().fits(None)
    assert Objective(max_memory_gb=6.0).fits(6.0)
    assert not Objective(max_memory_gb=6.0).fits(6.1)
    assert not Objective(max_memory_gb=6.0).fits(None)


def test_it_survives_the_journal_and_refuses_what_it_cannot_be():
    wanted = Objective("energy", 72, 0.8, 6.0)
    assert Objective.from_json(json.loads(json.dumps(wanted.to_json()))) == wanted
    assert Objective.from_json(None) == Objective()
    for damaged in ([], {"kind": "speed", "sequences": 1}, {"kind": "time", "sequences": 0}, {"kind": "time"}):
        with pytest.raises(TelemetryFormatError):
            Objective.from_json(damaged)
