# SPDX-License-Identifier: MIT
"""Which configuration of all steps is the best, and how sure that is."""

import pytest

from tests.support.sweeps import failure, success
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.results.verdicts.recommendation import select_overall


def select(*steps, min_packing=0.9):
    return select_overall(dict(steps), min_packing)


def measured_in(step, *results):
    return step, list(results)


def test_the_overall_best_is_the_median_of_its_measurements():
    lucky, steady = Configuration(num_workers=2), Configuration(num_workers=8)
    chosen = select(
        measured_in("baseline", success(lucky, 100.0)),
        measured_in("dataloader", success(lucky, 100.0), success(steady, 110.0)),
        measured_in("packing", success(lucky, 150.0)),
    )
    assert chosen.configuration == steady
    assert (chosen.found_in, chosen.constraint_met) == (("dataloader",), True)


def test_the_choice_says_how_many_are_as_good_within_the_noise():
    best, close, far = Configuration(8), Configuration(), Configuration(2)
    results = [success(best, 101.0), success(close, 99.0), success(far, 90.0)]
    chosen = select(measured_in("baseline", success(close, 101.0)), measured_in("dataloader", *results))
    assert chosen.configuration == best
    assert chosen.noise == pytest.approx(0.02)
    assert chosen.equals_within_noise == 1
    assert chosen.reason.endswith(
        "; no difference beyond the noise: 1 other is within the 2.00% by which repeated measurements differ "
        "(the baseline among them)"
    )
    once = select(measured_in("dataloader", *results))
    assert (once.noise, once.equals_within_noise) == (None, None)
    # The spread of a throttled configuration is not the noise of the others.
    hot = [success(far, rate, outcome="throttled") for rate in (60.0, 100.0)]
    document = measured_in("dataloader", success(best, 100.0), success(best, 101.0), *hot)
    assert select(document).noise == pytest.approx(0.01, abs=0.001)


def test_what_failed_anywhere_is_not_safe():
    shaky, safe = Configuration(token_budget=8192), Configuration()
    chosen = select(
        measured_in("packing", success(shaky, 200.0), success(safe, 100.0)), measured_in("x", failure(shaky))
    )
    assert chosen.configuration == safe
    assert "1 failed" in chosen.reason


def test_the_overall_best_prefers_good_packing_and_says_if_there_is_none():
    wasteful, full = Configuration(token_budget=8192), Configuration()
    both = [measured_in("packing", success(wasteful, 200.0, 0.5), success(full, 100.0, 0.9))]
    assert select(*both).configuration == full
    neither = [measured_in("packing", success(wasteful, 200.0, 0.5), success(full, 100.0, None))]
    chosen = select(*neither)
    assert (chosen.configuration, chosen.constraint_met) == (wasteful, False)
    assert "none reached" in chosen.reason
    assert select(measured_in("x", failure(full))) is None


def test_what_is_slower_than_the_baseline_is_not_chosen():
    baseline, fuller = Configuration(), Configuration(token_budget=2048)
    chosen = select(
        measured_in("baseline", success(baseline, 100.0, 0.85)),
        measured_in("packing", success(fuller, 91.0, 0.95)),
    )
    assert (chosen.configuration, chosen.constraint_met) == (baseline, False)
    assert chosen.reason == "the speed of the baseline; what packs 90% or more is slower"
    faster = select(
        measured_in("baseline", success(baseline, 100.0, 0.85)),
        measured_in("packing", success(fuller, 101.0, 0.95)),
    )
    assert (faster.configuration, faster.constraint_met) == (fuller, True)
