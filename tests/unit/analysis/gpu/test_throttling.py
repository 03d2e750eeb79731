# SPDX-License-Identifier: MIT
from dataclasses import replace

import pytest

from tests.support.run_records import MS, batch, samples, stage
from virnuc_profiler.analysis.gpu.throttling import (
    REASONS,
    ThrottleTimeline,
    reason_names,
    slowdown,
    throttled_batches,
    throttled_seconds,
)
from virnuc_profiler.analysis.summary.batch_metrics import batch_metrics
from virnuc_profiler.telemetry.records import GpuReading, SamplerTierRecord
from virnuc_profiler.telemetry.schema import require_known_keys

TIER = SamplerTierRecord("fast", 100.0, 10, 0, 0, False, "")


def readings(*reasons, clock=1980, every_ms=100):
    return samples(
        fast=tuple(
            GpuReading(number * every_ms * MS, throttle_reasons=bits, sm_clock_mhz=clock)
            for number, bits in enumerate(reasons)
        ),
        tiers=(TIER,),
    )


def on_device(start_ms, end_ms):
    return batch(0, 0, 2000, [stage("forward", 0, 1, device=(start_ms, end_ms))])


def test_names_are_those_of_nvml():
    assert reason_names(0x1FF) == list(REASONS.values())
    assert reason_names(0) == []


def test_a_reading_stands_for_the_time_to_the_next():
    timeline = ThrottleTimeline(readings(0x4, 0x4, 0x0, 0x40, 0x40))
    intervals = timeline.intervals((0, 1000 * MS))
    assert intervals["sw_power_cap"] == [(0, 200 * MS)]
    assert intervals["hw_thermal_slowdown"] == [(300 * MS, 500 * MS)]
    assert intervals["hw_slowdown"] == []
    assert throttled_seconds(timeline, (0, 400 * MS)) == {"sw_power_cap": 0.2, "hw_thermal_slowdown": 0.1}


def test_a_gap_in_the_readings_is_unknown():
    gpu = samples(
        fast=(GpuReading(0, throttle_reasons=0x4), GpuReading(1000 * MS, throttle_reasons=0x4)), tiers=(TIER,)
    )
    timeline = ThrottleTimeline(gpu)
    assert timeline.intervals((0, 2000 * MS))["sw_power_cap"] == [(0, 200 * MS), (1000 * MS, 1100 * MS)]
    assert timeline.reasons_of(on_device(300, 400)) is None


def test_no_reason_is_known_only_if_most_of_a_batch_was_sampled():
    timeline = ThrottleTimeline(readings(0x0, 0x0, 0x20))  # until 300 ms
    assert timeline.reasons_of(on_device(0, 400)) == ["sw_thermal_slowdown"]
    timeline = ThrottleTimeline(readings(0x0, 0x0))  # until 200 ms
    assert timeline.reasons_of(on_device(0, 400)) == []
    assert timeline.reasons_of(on_device(0, 401)) is None


def test_lower_clocks_of_a_small_part_of_the_window_are_no_slowdown_of_it():
    gpu = replace(readings(0x40, 0x40, clock=990), max_sm_clock_mhz=1980)
    assert slowdown(ThrottleTimeline(gpu), (0, 400 * MS)).lost_share == pytest.approx(0.5)
    assert slowdown(ThrottleTimeline(gpu), (0, 401 * MS)) is None


def test_idle_and_chosen_clocks_are_no_throttling():
    timeline = ThrottleTimeline(readings(0x1 | 0x2 | 0x100))
    assert throttled_seconds(timeline, (0, 100 * MS)) == {}
    assert timeline.reasons_of(on_device(10, 20)) == []


def test_a_batch_is_flagged_by_its_time_on_the_device():
    gpu = readings(0x0, 0x4, 0x20)
    assert batch_metrics(on_device(50, 90), gpu)["throttle_reasons"] == []
    assert batch_metrics(on_device(150, 250), gpu)["throttle_reasons"] == ["sw_power_cap", "sw_thermal_slowdown"]
    assert batch_metrics(on_device(150, 250))["throttle_reasons"] is None
    timeline = ThrottleTimeline(gpu)
    assert throttled_batches(timeline, [on_device(50, 90), on_device(150, 250), on_device(900, 910)]) == 1
    assert throttled_batches(timeline, [on_device(900, 910)]) is None


def test_reasons_that_were_not_read_are_not_measured():
    timeline = ThrottleTimeline(readings(None, None))
    assert throttled_seconds(timeline, (0, 100 * MS)) is None
    assert slowdown(timeline, (0, 100 * MS)) is None


@pytest.mark.parametrize(
    ("reasons", "clock", "fastest", "lost"),
    [
        (0x4, 1485, 1980, 0.0),  # an H200 at its power limit: normal
        (0x4, 1188, 1980, 0.0),  # at the limit of 60 %
        (0x4, 1180, 1980, 1 - 1180 / 1980),
        (0x4, 1180, None, 0.0),  # unknown maximum
        (0x40, 990, 1980, 0.5),
        (0x20, 1980, 1980, 0.1),  # readings miss pulses
        (0x8, None, None, 0.1),
        (0x0, 600, 1980, 0.0),  # slow, but without a reason
    ],
)
def test_what_lower_clocks_cost(reasons, clock, fastest, lost):
    gpu = replace(readings(reasons, reasons, clock=clock), max_sm_clock_mhz=fastest)
    found = slowdown(ThrottleTimeline(gpu), (0, 200 * MS))
    assert found.lost_share == pytest.approx(lost)
    assert found.max_clock_mhz == fastest


def test_the_schema_takes_lists_of_names_only():
    require_known_keys("batch", {"throttle_reasons": ["sw_power_cap"]})
    require_known_keys("batch", {"throttle_reasons": None})
    for wrong in ("sw_power_cap", [4], {"sw_power_cap": 1}):
        with pytest.raises(ValueError, match="throttle_reasons"):
            require_known_keys("batch", {"throttle_reasons": wrong})
