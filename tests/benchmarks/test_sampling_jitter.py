# SPDX-License-Identifier: MIT
"""Readings are held against the deadlines that they were taken for, however late they are."""

from collections.abc import Sequence

import numpy as np
import pytest
from benchmarks.sampling_figures import jitter

INTERVAL_MS = 20.0


def readings_at(at_ms: Sequence[float]):
    readings = np.zeros(len(at_ms), [("at_ns", "i8")])
    readings["at_ns"] = 5_000_000_000 + np.round(np.array(at_ms) * 1e6)
    return readings


def schedule(late_ms: Sequence[float], query_ms: Sequence[float]) -> tuple[list[float], list[float], int]:
    """What a tier does, as in csrc/capture/sampler_tier.h: times of readings, how late they are, deadlines missed."""
    at_ms, lateness_ms, missed, deadline_ms = [], [], 0, 0.0
    for late, query in zip(late_ms, query_ms, strict=True):
        at_ms.append(deadline_ms + late + query / 2)
        lateness_ms.append(late + query / 2)
        overrun_ms = late + query - INTERVAL_MS
        overrun = 0 if overrun_ms < 0 else int(overrun_ms // INTERVAL_MS) + 1
        missed += overrun
        deadline_ms += (1 + overrun) * INTERVAL_MS
    return at_ms, lateness_ms, missed


def largest_of(late_ms: Sequence[float], query_ms: Sequence[float]) -> tuple[float, float]:
    """The largest deviation that is found, and the true one."""
    at_ms, lateness_ms, missed = schedule(late_ms, query_ms)
    found = jitter(readings_at(at_ms), INTERVAL_MS, missed)
    return found.max_ms, float(np.abs(np.array(lateness_ms) - np.median(lateness_ms)).max())


@pytest.mark.parametrize("late_ms", [3, 9, 11, 15, 18, 19.5])
def test_a_late_reading_is_not_an_early_one_of_the_next_deadline(late_ms: float) -> None:
    at_ms = INTERVAL_MS * np.arange(100)
    at_ms[50] += late_ms
    found = jitter(readings_at(at_ms), INTERVAL_MS, 0)
    assert (found.p50_ms, found.max_ms) == pytest.approx((0, late_ms), abs=1e-9)


@pytest.mark.parametrize("late_ms", [12, 18, 25, 47])
@pytest.mark.parametrize("place", [1, 50, 98])
def test_a_late_start_is_as_late_as_it_is_and_the_deadlines_it_misses_have_no_reading(late_ms, place) -> None:
    late = np.zeros(100)
    late[place] = late_ms
    found, true = largest_of(late, np.full(100, 0.4))
    assert found == pytest.approx(true) == pytest.approx(late_ms)


@pytest.mark.parametrize("query_ms", [5, 19, 24, 30, 36, 39, 55, 90])
def test_a_long_query_is_late_by_its_half_and_delays_no_other(query_ms) -> None:
    queries = np.full(100, 0.4)
    queries[50] = query_ms
    found, true = largest_of(np.zeros(100), queries)
    assert found == pytest.approx(true) == pytest.approx((query_ms - 0.4) / 2)


@pytest.mark.parametrize("seed", range(5))
def test_a_busy_tier_is_as_late_as_it_was(seed: int) -> None:
    """One reading in twenty held up by anything up to three intervals, neighbors too."""
    random = np.random.default_rng(seed)
    held_up = random.random(400) < 0.05
    held_up[0] = False
    queries = np.where(held_up, random.uniform(0, 3 * INTERVAL_MS, 400), random.uniform(0.3, 0.8, 400))
    at_ms, lateness_ms, missed = schedule(random.uniform(0, 0.2, 400), queries)
    found = jitter(readings_at(at_ms), INTERVAL_MS, missed)
    off_ms = np.abs(np.array(lateness_ms) - np.median(lateness_ms))
    expected = np.quantile(off_ms, [0.5, 0.99, 1]).tolist()
    assert [found.p50_ms, found.p99_ms, found.max_ms] == pytest.approx(expected, abs=1e-3)


def test_several_late_ones_in_a_row_stay_in_order() -> None:
    late = np.zeros(100)
    late[50:54] = 19
    found, true = largest_of(late, np.full(100, 0.2))
    assert found == pytest.approx(true) == pytest.approx(19)


def test_readings_a_little_before_the_grid_are_early() -> None:
    at_ms = INTERVAL_MS * np.arange(100)
    at_ms[[10, 50]] -= 1
    assert jitter(readings_at(at_ms), INTERVAL_MS, 0).max_ms == pytest.approx(1)


@pytest.mark.parametrize("late_ms", [9, 10, 11, 19])
def test_the_first_reading_may_be_the_one_that_is_off(late_ms: float) -> None:
    at_ms = INTERVAL_MS * np.arange(100) + np.random.default_rng(3).uniform(0, 0.1, 100)
    at_ms[0] = late_ms
    assert jitter(readings_at(at_ms), INTERVAL_MS, 0).max_ms == pytest.approx(late_ms, abs=0.1)


def test_queries_that_failed_leave_gaps_and_no_lateness() -> None:
    at_ms = np.delete(INTERVAL_MS * np.arange(100) + np.random.default_rng(3).uniform(0, 0.1, 100), [30, 50, 51])
    assert jitter(readings_at(at_ms), INTERVAL_MS, 0).max_ms < 0.1


def test_one_reading_has_no_grid() -> None:
    assert jitter(readings_at([0]), INTERVAL_MS, 0) is None
