# SPDX-License-Identifier: MIT
import pytest
from jsonschema import Draft202012Validator

from tests.support.run_records import MS, batch, packing, run_of, samples, stage
from virnuc_profiler.analysis.summary.batch_metrics import (
    batch_metrics,
    completion_intervals,
    metrics_of_run,
    queue_state,
)
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.records import DeviceCapture, GpuReading
from virnuc_profiler.telemetry.schema import telemetry_schema


def readings(*pairs):
    return tuple(GpuReading(int(at_ms * MS), percent) for at_ms, percent in pairs)


def test_golden_batch():
    """Computed by hand: 10 ms between completions, 2 ms of them waiting; 600 tokens with a budget of 800."""
    record = batch(
        4,
        100,
        120,
        [
            stage("fetch", 100, 103),
            stage("collate", 101, 102),
            stage("forward", 104, 105, device=(106, 114)),
            stage("d2h", 105, 106, device=(114, 115)),
        ],
        packing([100, 200, 300], 800),
    )
    gpu = samples(fast=readings((105, 10), (115, 60), (120, 80), (121, 99)))
    metrics = batch_metrics(record, gpu, (110 * MS, 120 * MS))
    assert metrics == {
        "tokens_per_sec": 60_000.0,
        "sequences_per_sec": 300.0,
        "gpu_util": None,  # shorter than NVML's averaging window
        "packing_efficiency": 0.75,
        "wait_time_ms": 2.0,
        "num_sequences": 3,
        "num_tokens": 600,
        "queue_state": "normal",
        "interval_ms": 10.0,
        "stage_host_ms": {"fetch": 3.0, "collate": 1.0, "forward": 1.0, "d2h": 1.0},
        "stage_device_ms": {"forward": 8.0, "d2h": 1.0},
        "device_times_dropped": False,
        "throttle_reasons": None,
        "min_length": 100,
        "mean_length": 200.0,
        "max_length": 300,
        "sum_squared_lengths": 140_000,
        "padding_tokens": 300,
        "token_budget": 800,
        "oversize": False,
    }


def test_without_previous_batch_the_interval_is_its_own():
    metrics = batch_metrics(batch(0, 0, 20, [], packing([100])))
    assert metrics["interval_ms"] == 20.0
    assert metrics["tokens_per_sec"] == 5000.0


def test_what_was_not_measured_is_none():
    metrics = batch_metrics(batch(0, 0, 20))
    for key in ("tokens_per_sec", "gpu_util", "packing_efficiency", "wait_time_ms", "num_tokens", "queue_state"):
        assert metrics[key] is None
    assert metrics["stage_device_ms"] is None


def test_oversize_is_flagged_and_has_no_efficiency():
    metrics = batch_metrics(batch(0, 0, 20, [], packing([500], 400)))
    assert metrics["oversize"] is True
    assert metrics["packing_efficiency"] is None


def test_no_time_no_rate():
    metrics = batch_metrics(batch(0, 5, 5, [], packing([100])))
    assert metrics["tokens_per_sec"] is None


def test_repeated_stages_add_up_and_overlaps_count_once():
    record = batch(0, 0, 20, [stage("pool", 0, 4), stage("pool", 2, 6), stage("pool", 10, 11)])
    assert batch_metrics(record)["stage_host_ms"] == {"pool": 7.0}


def test_a_stage_with_part_of_its_device_times_has_none():
    record = batch(
        0, 0, 20, [stage("pool", 0, 4, device=(0, 1)), stage("pool", 5, 6), stage("h2d", 6, 7, device=(6, 9))]
    )
    assert batch_metrics(record)["stage_device_ms"] == {"h2d": 3.0}


def test_wait_leaves_collation_in_the_same_thread_out():
    record = batch(0, 0, 20, [stage("fetch", 0, 10), stage("collate", 2, 9), stage("collate", 12, 15)])
    assert batch_metrics(record)["wait_time_ms"] == 3.0


@pytest.mark.parametrize(
    ("wait", "interval", "state"),
    [
        (0, 100, "full"),
        (4, 100, "full"),
        (5, 100, "normal"),
        (24, 100, "normal"),
        (25, 100, "starved"),
        (300, 100, "starved"),
        (0, 0, "full"),
        (1, 0, "starved"),
        (None, 100, None),
    ],
)
def test_queue_state(wait, interval, state):
    assert queue_state(wait, interval) == state


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "fast", "expected"),
    [
        (1000, 3000, ((900, 10), (2000, 40), (3000, 60), (3100, 99)), 50.0),  # inside (1000, 3000]
        (1000, 3000, ((2000, 40), (2500, None)), 40.0),  # half of the batch was seen
        (1000, 3000, ((1900, 40),), None),  # less than half
        (1000, 3000, ((3001, 40),), None),  # after its end
        (1000, 1999, ((1500, 40), (1999, 40)), None),  # shorter than NVML's window
        (100, 200, ((110, 70), (200, 70)), None),
        (1000, 3000, (), None),
    ],
)
def test_gpu_utilization_of_a_batch(start_ms, end_ms, fast, expected):
    metrics = batch_metrics(batch(0, start_ms, end_ms), samples(fast=readings(*fast)))
    assert metrics["gpu_util"] == expected


def test_intervals_of_batches_in_flight_tile_the_run():
    batches = [batch(0, 0, 30), batch(1, 10, 25), batch(2, 20, 50), batch(3, 70, 80)]
    found = completion_intervals(BatchTable.from_records(batches))
    assert [start for start, _ in found] == [25 * MS, 10 * MS, 30 * MS, 50 * MS]
    assert sum(end - start for start, end in found) == (80 - 10) * MS


def test_a_batch_whose_results_were_taken_late_has_the_rate_of_the_device():
    """The device takes 10 ms per batch; the host waits for data and receives the first two batches at 100 ms."""
    batches = [
        batch(0, 0, 100, [stage("fetch", 0, 1), stage("forward", 1, 2, device=(10, 20))], packing([100])),
        batch(1, 2, 101, [stage("fetch", 2, 90), stage("forward", 90, 91, device=(20, 30))], packing([100])),
    ]
    run = run_of(batches, 110, device=DeviceCapture("GPU", timed=True))
    (_, first), (_, second) = metrics_of_run(run)
    assert (first["interval_ms"], second["interval_ms"]) == (20.0, 10.0)
    assert second["tokens_per_sec"] == 10_000.0
    assert second["timestamp"] == "2025-03-01T12:00:00.030000+00:00"
    # The wait is still compared with the host's time.
    assert (first["queue_state"], second["queue_state"]) == ("full", "starved")


def test_metrics_of_run_are_schema_records_with_the_time_of_their_end():
    run = run_of(
        [
            batch(0, 1000, 2000, [stage("fetch", 1000, 1100)], packing([10, 20], 64)),
            batch(1, 1500, 2500, [stage("fetch", 1500, 1501)], packing([30], 64)),
        ],
        3000,
    )
    (first, metrics0), (second, metrics1) = metrics_of_run(run)
    assert (first, second) == (0, 1)
    assert metrics0["timestamp"] == "2025-03-01T12:00:02+00:00"
    assert metrics1["timestamp"] == "2025-03-01T12:00:02.500000+00:00"
    assert (metrics0["interval_ms"], metrics1["interval_ms"]) == (1000.0, 500.0)
    assert metrics1["tokens_per_sec"] == 60.0
    document = {"summary": {}, "per_batch_metrics": [metrics0, metrics1]}
    Draft202012Validator(telemetry_schema()).validate(document)
    assert metrics0.keys() <= telemetry_schema()["$defs"]["batch"]["properties"].keys()
