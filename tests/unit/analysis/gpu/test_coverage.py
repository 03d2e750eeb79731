# SPDX-License-Identifier: MIT
"""What may be said of a run of which the samples saw only a part."""

import json

import pytest

from tests.support.run_records import MS, samples
from virnuc_profiler.analysis.gpu.activity import (
    energy_during,
    peak_power_during,
    sampled_activity,
    utilization_during,
)
from virnuc_profiler.analysis.gpu.coverage import (
    Coverage,
    averaged_reach_ns,
    coverage_of,
    joint_coverage,
    percent_bounds,
    reaches,
)
from virnuc_profiler.telemetry.records import EnergyReading, GpmReading, GpuReading, SamplerTierRecord

MINUTE = (0, 60_000 * MS)
FULL = Coverage(1.0, 600, 0.1, 0.008)


def utilized(times_ms, percent=100, interval_ms=100.0):
    """Return readings of a GPU without a single error."""
    tier = SamplerTierRecord("fast", interval_ms, len(times_ms), 0, 0, False, "")
    fast = tuple(GpuReading(ms * MS, percent, power_mw=300_000) for ms in times_ms)
    return samples(fast=fast, tiers=(tier,))


@pytest.mark.parametrize(
    ("times_ms", "share"),
    [
        (range(0, 6000, 100), 0.1),  # readings stop after 6 s
        ([*range(0, 6000, 100), *range(54_000, 60_100, 100)], 0.2),  # a hole of 48 s
        ([30_000], 1 / 60),  # one reading out of 600
        (range(0, 60_000, 5000), 0.2),  # too rare
    ],
)
def test_utilization_of_a_small_part_of_the_run_is_not_measured(times_ms, share):
    """All of these were reported as 100 %, PERF-02 PASS."""
    value, coverage = utilization_during(MINUTE, utilized(times_ms))
    assert value is None
    assert coverage.share == pytest.approx(share, abs=0.02)
    assert peak_power_during(MINUTE, utilized(times_ms)).value is None


def test_a_gap_counts_wherever_it_lies():
    for hole_ms in ((0, 20_000), (20_000, 40_000), (40_000, 60_001)):
        seen = [ms for ms in range(0, 60_001, 100) if not hole_ms[0] <= ms < hole_ms[1]]
        value, coverage = utilization_during(MINUTE, utilized(seen, 71))
        assert value == pytest.approx(71)
        assert coverage.share == pytest.approx(2 / 3, abs=0.02)
        assert coverage.largest_gap_seconds == pytest.approx(20, abs=1.1)  # a reading stands for up to 1 s before it
        assert not coverage.whole


def test_a_reading_stands_for_at_most_the_window_or_two_of_its_own_intervals():
    assert averaged_reach_ns(utilized([])) == 1000 * MS
    assert averaged_reach_ns(samples()) == 1000 * MS
    assert averaged_reach_ns(utilized([], interval_ms=5000.0)) == 10_000 * MS
    rare = utilization_during(MINUTE, utilized(range(0, 60_001, 5000), interval_ms=5000.0))
    assert (rare.value, rare.coverage.whole) == (100, True)


@pytest.mark.parametrize(("duration_ms", "value"), [(500, None), (999, None), (1000, 40), (2000, 40), (60_000, 40)])
def test_a_run_shorter_than_the_window_of_nvml_has_no_utilization(duration_ms, value):
    found = utilization_during((0, duration_ms * MS), utilized(range(0, duration_ms + 1, 100), 40))
    assert found.value == (None if value is None else pytest.approx(value))
    assert found.coverage.share == pytest.approx(1.0, abs=0.1)
    assert found.coverage.whole == (duration_ms == 60_000)


def test_no_reading_at_all():
    assert utilization_during(MINUTE, samples()) == (None, None)
    assert utilization_during(MINUTE, utilized([5000], None)) == (None, None)
    assert sampled_activity(MINUTE, (), "sm_activity") == (None, None)
    assert utilization_during((5, 5), utilized([1])) == (None, None)


def test_activity_by_hand():
    """4 s of 10 s at 0.5, 2 s at 0.8: readings cover their own interval exactly."""
    readings = (GpmReading(4000 * MS, 4000 * MS, 0.5), GpmReading(9000 * MS, 2000 * MS, 0.8, 0.1))
    value, coverage = sampled_activity((0, 10_000 * MS), readings, "sm_activity")
    assert value == pytest.approx(0.6)
    assert coverage == Coverage(0.6, 2, 3.0, 0.0)
    assert sampled_activity((0, 10_000 * MS), readings, "tensor_activity").value is None


def test_a_window_inside_one_activity_reading_is_blurred_by_the_rest_of_it():
    reading = (GpmReading(250 * MS, 250 * MS, 0.5),)
    assert sampled_activity((0, 250 * MS), reading, "sm_activity").value == 0.5
    assert sampled_activity((50 * MS, 220 * MS), reading, "sm_activity").value == 0.5
    assert sampled_activity((100 * MS, 200 * MS), reading, "sm_activity").value is None


def test_energy_states_the_part_that_the_counter_covers():
    """A counter that saw 10 of 60 s at 500 W printed 5,000 J for a run of 30,000 J."""
    readings = tuple(EnergyReading(n * 2000 * MS, n * 1_000_000) for n in range(6))
    assert energy_during(MINUTE, readings) == (None, 10.0, Coverage(1 / 6, 6, 50.0, 0.1 / 60))
    joules, seconds, coverage = energy_during((0, 16_000 * MS), readings)
    assert (joules, seconds) == (5000.0, 10.0)
    assert (coverage.share, coverage.sufficient, coverage.whole) == (0.625, True, False)


def test_the_energy_counter_counts_between_its_readings():
    joules, seconds, coverage = energy_during(MINUTE, (EnergyReading(0, 0), EnergyReading(60_000 * MS, 30_000_000)))
    assert (joules, seconds, coverage.whole) == (30_000.0, 60.0, True)


def test_energy_of_a_run_of_two_steps_of_the_counter_is_not_measured():
    readings = (EnergyReading(0, 0), EnergyReading(200 * MS, 100_000))
    assert energy_during((0, 200 * MS), readings).joules == 100.0
    assert energy_during((0, 190 * MS), readings).joules is None


@pytest.mark.parametrize(
    ("value", "coverage", "expected"),
    [
        (71.0, FULL, True),
        (69.0, FULL, False),
        (71.0, None, True),
        (None, FULL, None),
        (100.0, Coverage(0.7, 9, 1.0), True),  # 70 % at least
        (100.0, Coverage(0.69, 9, 1.0), None),  # 69 to 100 %
        (0.0, Coverage(0.3, 9, 1.0), None),  # 0 to 70 %
        (0.0, Coverage(0.31, 9, 1.0), False),
        (80.0, Coverage(1.0, 9, 0.1, 0.1), True),  # 70 to 90 %
        (79.0, Coverage(1.0, 9, 0.1, 0.1), None),
        (59.0, Coverage(1.0, 9, 0.1, 0.1), False),
    ],
)
def test_a_verdict_holds_whatever_happened_unseen(value, coverage, expected):
    assert reaches(70.0, value, coverage) is expected


def test_bounds_stay_between_0_and_100():
    assert percent_bounds(5.0, Coverage(1.0, 1, 0.0, 0.4)) == (0.0, 45.0)
    assert percent_bounds(95.0, Coverage(1.0, 1, 0.0, 0.4)) == (55.0, 100.0)


def test_spans_may_overlap_and_reach_beyond_the_interval():
    found = coverage_of((100, 200), [(90, 120), (110, 130), (180, 250), (300, 400)], 4)
    assert found == Coverage(0.5, 4, 50 / 1e9)
    assert coverage_of((100, 100), [(0, 200)], 1).sufficient is False


def test_coverage_of_several_runs():
    half = Coverage(0.5, 10, 5.0, 0.1)
    assert joint_coverage([(10, half), (30, None)]) == Coverage(0.125, 10, 30, 0.025)
    assert joint_coverage([(10, half), (10, Coverage(1.0, 20, 0.1, 0.0))]) == Coverage(0.75, 30, 5.0, 0.05)
    assert joint_coverage([]) == Coverage(0, 0, 0, 0)


def test_json():
    found = Coverage(0.5, 3, 2.0, 0.25)
    assert Coverage.from_json(json.loads(json.dumps(found.to_json()))) == found
    for damaged in (
        None,
        [],
        {},
        {"share": 1},
        {**found.to_json(), "readings": None},
        {**found.to_json(), "share": "1"},
    ):
        assert Coverage.from_json(damaged) is None
