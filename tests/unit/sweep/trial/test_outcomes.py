# SPDX-License-Identifier: MIT
"""Throttled, interrupted and contaminated results: what wins, and what tables say."""

from dataclasses import replace

import pytest

from tests.support.run_records import MS, batch, packing, run_of, samples
from tests.support.sweeps import WORKLOAD, conditions, failure, recommended, success
from virnuc_profiler.analysis.gpu.throttling import ThrottleTimeline, hard_throttling
from virnuc_profiler.analysis.selection import select_best
from virnuc_profiler.reports.sweep_tables import render_dataloader, render_interaction
from virnuc_profiler.sweep.plan.steps import plan
from virnuc_profiler.sweep.results.result_files import make_document
from virnuc_profiler.sweep.trial.outcome import successful_outcome, without_contamination
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.records import (
    DESCENDANT,
    MACHINE,
    PROCESS,
    GpuReading,
    GpuSamples,
    SamplerTierRecord,
    StopRecord,
)

FAST, SLOW = Configuration(8, 8), Configuration(2, 2)
STOP = {"outcome": "interrupted", "evidence": {"stopped_sec": 15.0, "suspended_sec": 0.0}}
HEAT = {"outcome": "throttled", "evidence": {"held_down_share": 0.34, "reasons": {"sw_thermal_slowdown": 0.34}}}


def steps(*results, step="dataloader"):

    circumstances = replace(conditions(), workload=WORKLOAD.to_json())
    return make_document(plan()[step], circumstances, results, success(SLOW), planned=len(results))


@pytest.mark.parametrize(
    ("reasons", "share", "names"),
    [
        ([0x4, 0x4, 0x4, 0x4], 0, {}),  # the power cap is normal
        ([0x20, 0x44, 0x1, 0x0], 0.5, {"sw_thermal_slowdown": 0.25, "hw_thermal_slowdown": 0.25}),
        ([0x88, 0x0, 0x0, 0x0], 0.25, {"hw_slowdown": 0.25, "hw_power_brake_slowdown": 0.25}),
    ],
)
def test_the_share_of_time_under_hard_reasons(reasons, share, names):
    readings = tuple(GpuReading(n * 100, throttle_reasons=bits) for n, bits in enumerate(reasons))
    assert hard_throttling(ThrottleTimeline(GpuSamples("u", fast=readings)), (0, 400))[:2] == (share, names)


def test_nothing_measured_is_nothing_known():
    assert hard_throttling(ThrottleTimeline(GpuSamples("u")), (0, 400)) is None


def outcome_of(times_ms, reasons, seconds=10):
    tier = SamplerTierRecord("fast", 100.0, len(times_ms), 0, 0, False, "")
    fast = tuple(GpuReading(ms * MS, throttle_reasons=reasons) for ms in times_ms)
    run = run_of([batch(0, 0, seconds * 1000, [], packing([5]))], seconds * 1000, gpu=samples(fast=fast, tiers=(tier,)))
    found = successful_outcome(run)
    return found["outcome"], found["evidence"]["held_down_share"], found["evidence"].get("sampled_share")


def test_throttling_of_a_part_that_was_sampled():
    """Two seconds under heat throttle a run of ten; one second of it, or two without, leave the rest unknown."""
    assert outcome_of(range(0, 10_000, 100), 0x40) == ("throttled", 1.0, None)
    assert outcome_of(range(0, 2000, 100), 0x40) == ("throttled", 1.0, pytest.approx(0.2))
    assert outcome_of(range(0, 1000, 100), 0x40) == ("ok", None, pytest.approx(0.1))
    assert outcome_of(range(0, 2000, 100), 0x0) == ("ok", None, pytest.approx(0.2))
    assert outcome_of(range(0, 6000, 100), 0x0) == ("ok", 0.0, pytest.approx(0.6))


def test_a_throttled_result_wins_only_among_its_like():
    hot, cool = success(FAST, 200.0, **HEAT), success(SLOW, 100.0)
    assert select_best([hot, cool]).best is cool
    assert select_best([hot, success(SLOW, 100.0, **HEAT)]).best is hot
    assert select_best([hot, failure(SLOW)]).best is hot


@pytest.mark.parametrize("reason", ["contaminated", "environment"])
def test_the_choice_takes_cool_measurements_and_ignores_what_says_nothing(reason):
    ignored = failure(SLOW, reason)
    measured = {
        "dataloader": [success(FAST, 200.0, **HEAT), success(SLOW, 90.0)],
        "packing": [ignored, success(FAST, 80.0)],
    }
    assert recommended(measured, 0.9).configuration == SLOW
    hot = {"dataloader": [success(FAST, 200.0, **HEAT)]}
    assert "throttled in every measurement" in recommended(hot, 0.9).reason
    assert recommended({"dataloader": [ignored]}, 0.9) is None


def test_tables_say_so():
    results = [success(FAST, 200.0, **HEAT), success(SLOW, 100.0)]
    text = render_dataloader(steps(*results))
    assert "Fastest measured: num_workers=2" in text
    assert "Throttled configurations (chosen only if all were):" in text
    assert "  num_workers=8, prefetch_factor=8 (34.0% of the time: sw_thermal_slowdown)" in text
    assert "| throttled" in render_interaction(steps(*results, step="interaction"))
    assert "Every configuration that succeeded was throttled" in render_dataloader(steps(results[0]))


def test_contamination_makes_a_failure_of_anything_and_keeps_what_was_measured_apart():
    result = success(FAST, 200.0, outcome="ok", evidence={})
    assert without_contamination(result, []) is result
    spoilt = without_contamination(result, ["process 7 (running): sleep"])
    assert (spoilt.status, spoilt.reason, spoilt.outcome) == ("failed", "contaminated", "contaminated")
    assert spoilt.sequences_per_sec is None
    assert spoilt.evidence["measured_nevertheless"]["sequences_per_sec"] == 200.0
    assert "process 7" in spoilt.message


def stopped_run(*stops, elapsed_s=60):
    return replace(run_of([batch(0, 0, 1000 * elapsed_s)], 1000 * elapsed_s), stops=stops)


def stop(start_s, end_s, what=PROCESS, asleep_s=0):
    return StopRecord(1000 * start_s * MS, 1000 * end_s * MS, what, 7, 1000 * asleep_s * MS)


@pytest.mark.parametrize(
    ("stops", "outcome", "stopped_s"),
    [
        ([], "ok", None),
        ([stop(10, 25)], "interrupted", 15.0),
        ([stop(10, 25), stop(20, 30, DESCENDANT)], "interrupted", 20.0),  # what overlaps counts once
        ([stop(10, 25), stop(11, 12, DESCENDANT), stop(70, 90)], "interrupted", 15.0),  # after the run
        ([stop(10, 10.5)], "ok", 0.5),  # within the noise
        ([stop(10, 10, MACHINE, 3600)], "interrupted", 0.0),
    ],
)
def test_a_run_that_was_stopped_for_long_is_interrupted(stops, outcome, stopped_s):
    found = successful_outcome(stopped_run(*stops))
    assert (found["outcome"], found.get("stopped_sec")) == (outcome, stopped_s)
    assert found["evidence"].get("stopped_sec") == stopped_s


def test_a_run_that_was_not_watched_is_not_interrupted():
    assert successful_outcome(replace(stopped_run(), stops=None))["outcome"] == "ok"


def test_interrupted_measurements_do_not_count_in_the_choice():
    measured = {
        "dataloader": [success(FAST, 20.0, **STOP), success(SLOW, 90.0)],
        "packing": [success(FAST, 100.0)],
    }
    choice = recommended(measured, 0.9)
    assert (choice.configuration, choice.measurements, choice.noise) == (FAST, 1, None)
    assert recommended({"dataloader": [success(FAST, 200.0, **STOP)]}, 0.9) is None


def test_tables_mark_interrupted_configurations():
    results = [success(FAST, 200.0, **STOP), success(SLOW, 100.0)]
    document = steps(*results)
    assert [result.speedup for result in document.results] == [None, 1.0]
    text = render_dataloader(document)
    assert "Fastest measured: num_workers=2" in text
    assert "within the" not in text  # the rate of the interrupted one is not compared
    assert "Interrupted configurations (never chosen; --resume measures them again):" in text
    assert "  num_workers=8, prefetch_factor=8 (stopped for 15.0 s of 10.0 s)" in text
    assert "| interrupted" in render_interaction(steps(*results, step="interaction"))
