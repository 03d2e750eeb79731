# SPDX-License-Identifier: MIT
"""Which configuration of all steps is the best, and how sure that is."""

import pytest

from tests.support.sweeps import failure, success
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.results.choice import choose_overall


def document_of(step, *results):
    return {"step": step, "results": list(results)}


def test_the_overall_best_is_the_median_of_its_measurements():
    lucky, steady = Configuration(num_workers=2), Configuration(num_workers=8)
    chosen = choose_overall(
        [
            document_of("baseline", success(lucky, 100.0)),
            document_of("dataloader", success(lucky, 100.0), success(steady, 110.0)),
            document_of("packing", success(lucky, 150.0)),
        ],
        0.9,
    )
    assert chosen.candidate.configuration == steady
    assert (chosen.candidate.found_in, chosen.constraint_met) == (("dataloader",), True)


def test_the_choice_says_how_many_are_as_good_within_the_noise():
    best, close, far = Configuration(8), Configuration(), Configuration(2)
    results = [success(best, 101.0), success(close, 99.0), success(far, 90.0)]
    chosen = choose_overall([document_of("baseline", success(close, 101.0)), document_of("dataloader", *results)], 0.9)
    assert chosen.candidate.configuration == best
    assert chosen.noise == pytest.approx(0.02)
    assert chosen.equals == 1
    assert "1 other is within the 2.0% by which repeated measurements differ" in chosen.reason
    once = choose_overall([document_of("dataloader", *results)], 0.9)
    assert (once.noise, once.equals) == (None, 0)
    # What a throttled configuration varied by is nobody else's noise.
    hot = [success(far, rate, outcome="throttled") for rate in (60.0, 100.0)]
    document = document_of("dataloader", success(best, 100.0), success(best, 101.0), *hot)
    assert choose_overall([document], 0.9).noise == pytest.approx(0.01, abs=0.001)


def test_what_failed_anywhere_is_not_safe():
    shaky, safe = Configuration(token_budget=8192), Configuration()
    chosen = choose_overall(
        [document_of("packing", success(shaky, 200.0), success(safe, 100.0)), document_of("x", failure(shaky))], 0.9
    )
    assert chosen.candidate.configuration == safe
    assert "1 failed" in chosen.reason


def test_the_overall_best_prefers_good_packing_and_says_if_there_is_none():
    wasteful, full = Configuration(token_budget=8192), Configuration()
    both = [document_of("packing", success(wasteful, 200.0, 0.5), success(full, 100.0, 0.9))]
    assert choose_overall(both, 0.9).candidate.configuration == full
    neither = [document_of("packing", success(wasteful, 200.0, 0.5), success(full, 100.0, None))]
    chosen = choose_overall(neither, 0.9)
    assert (chosen.candidate.configuration, chosen.constraint_met) == (wasteful, False)
    assert "none reached" in chosen.reason
    assert choose_overall([document_of("x", failure(full))], 0.9) is None
