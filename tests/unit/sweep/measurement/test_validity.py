# SPDX-License-Identifier: MIT
from dataclasses import replace

import pytest

from tests.support.sweeps import failure, success
from virnuc_profiler.sweep.measurement.validity import reasons_to_repeat
from virnuc_profiler.sweep.results.result import OTHER_PROCESS_SHARE
from virnuc_profiler.targets.knobs.configuration import BASELINE

GOOD = success(BASELINE, outcome="ok", evidence={"held_down_share": 0.0})


def held_down(*reasons):
    return replace(GOOD, outcome="throttled", evidence={"reasons": dict.fromkeys(reasons, 0.5)})


def test_an_undisturbed_trial_stands():
    assert reasons_to_repeat(GOOD, []) == ()
    assert reasons_to_repeat(replace(GOOD, evidence=None), [GOOD]) == ()


def test_a_new_reason_for_throttling_is_one_to_repeat():
    (why,) = reasons_to_repeat(held_down("hw_thermal_slowdown"), [GOOD])
    assert "hw_thermal_slowdown" in why
    (why,) = reasons_to_repeat(held_down("hw_slowdown", "hw_thermal_slowdown"), [GOOD, held_down("hw_slowdown")])
    assert "by hw_thermal_slowdown," in why


def test_a_reason_that_earlier_trials_had_is_a_condition():
    assert reasons_to_repeat(held_down("hw_slowdown"), [held_down("hw_slowdown"), GOOD]) == ()
    unnamed = replace(GOOD, outcome="throttled", evidence={})
    assert reasons_to_repeat(unnamed, [GOOD]) != ()
    assert reasons_to_repeat(unnamed, [unnamed]) == ()


@pytest.mark.parametrize("earlier", [[], [GOOD]])
def test_an_interrupted_trial_and_one_beside_other_processes_are_repeated(earlier):
    (why,) = reasons_to_repeat(replace(GOOD, outcome="interrupted"), earlier)
    assert "stopped" in why
    (why,) = reasons_to_repeat(replace(GOOD, evidence={OTHER_PROCESS_SHARE: 0.4}), earlier)
    assert why == "other processes took 40% of the device's time"


def test_a_failure_is_a_result_and_not_repeated():
    assert reasons_to_repeat(failure(BASELINE, outcome="OOM"), []) == ()
