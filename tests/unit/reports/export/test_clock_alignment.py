# SPDX-License-Identifier: MIT
"""How runs of several ranks get one clock, and what is said of it."""

from dataclasses import replace

import pytest

from tests.support.run_records import MS, run_of
from virnuc_profiler.reports.export.clock_alignment import align_clocks


def run_at(time_of_day, start_ms, host="one"):
    run = run_of([], start_ms + 10, start_ms=start_ms, metadata={"hardware": {"hostname": host}})
    return replace(run, started_at=time_of_day)


def test_runs_of_one_machine_keep_their_clock_although_times_of_day_are_rounded():
    found = align_clocks([run_at("2026-01-01T00:00:00.000Z", 500), run_at("2026-01-01T00:00:02.004+00:00", 2500.2)])
    assert found.later_ns == [0, 0]
    assert "one machine" in found.statement


def test_another_machine_is_moved_by_the_time_of_day():
    found = align_clocks([run_at("2026-01-01T00:00:00Z", 500), run_at("2026-01-01T02:00:01+02:00", 90_000, "two")])
    assert found.later_ns == [0, -88_500 * MS]
    assert "1 of 2 runs" in found.statement


def test_two_machines_that_started_at_the_same_time_are_not_taken_for_one():
    found = align_clocks([run_at("2026-01-01T00:00:00Z", 500), run_at("2026-01-01T00:00:00.010Z", 500, "two")])
    assert found.later_ns == [0, 10 * MS]


@pytest.mark.parametrize("time_of_day", ["", "yesterday", "2026-01-01T00:00:00"])
def test_a_run_without_a_time_of_day_cannot_be_compared(time_of_day):
    found = align_clocks([run_at("2026-01-01T00:00:00Z", 500), run_at(time_of_day, 700)])
    assert found.later_ns == [0, 0]
    assert "says no time of day" in found.statement
    assert align_clocks([run_at(time_of_day, 700)]).wall_offset_ns is None
