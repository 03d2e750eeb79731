# SPDX-License-Identifier: MIT
"""The timeline with host times only: records, their order, and the errors of misuse."""

import gc
import threading
import time
from typing import Any

import numpy as np
import pytest

from virnuc_profiler import _core
from virnuc_profiler.errors import CudaError, LibraryUnavailable, VirnucError
from virnuc_profiler.telemetry.batch_table import BATCH_FIELDS

STAGES = ["fetch", "forward", "emit"]


def recorded(timeline: _core.Timeline) -> dict[int, list[str]]:
    """Stage names of each batch, by batch index."""
    stages = timeline.stages()
    names = [STAGES[number] for number in stages["stage"]]
    return {int(row["index"]): names[row["stage_begin"] : row["stage_end"]] for row in timeline.batches()}


def test_clock_is_python_s_monotonic_clock() -> None:
    before = time.monotonic_ns()
    now = _core.monotonic_ns()
    assert before <= now <= time.monotonic_ns()


def test_marks_end_one_stage_and_start_the_next_at_the_same_time() -> None:
    timeline = _core.Timeline(STAGES)
    before = time.monotonic_ns()
    batch = timeline.begin_batch(7)
    batch.mark("fetch")
    batch.mark("forward")
    batch.end_stage()
    batch.end_stage()
    batch.mark("emit")
    batch.end()
    after = time.monotonic_ns()
    timeline.stop()

    (row,) = timeline.batches()
    stages = timeline.stages()
    assert row["index"] == 7
    assert [STAGES[number] for number in stages["stage"]] == ["fetch", "forward", "emit"]
    assert (row["stage_begin"], row["stage_end"]) == (0, 3)
    assert stages[0]["host_end_ns"] == stages[1]["host_start_ns"]
    assert stages[1]["host_end_ns"] <= stages[2]["host_start_ns"]
    assert stages[2]["host_end_ns"] == row["host_end_ns"]
    assert before <= row["host_start_ns"] <= stages[0]["host_start_ns"]
    assert row["host_end_ns"] <= after
    assert (stages["device_start_ns"] == _core.NOT_MEASURED).all()
    assert (stages["device_end_ns"] == _core.NOT_MEASURED).all()


def test_array_fields_match_the_stub() -> None:
    timeline = _core.Timeline(STAGES)
    assert set(timeline.batches().dtype.names) == set(BATCH_FIELDS)
    stage_fields = ("stage", "host_start_ns", "host_end_ns", "device_start_ns", "device_end_ns", "timestamped")
    assert timeline.stages().dtype.names == stage_fields
    assert timeline.anchors().dtype.names == ("host_ns", "device_ns", "uncertainty_ns")
    assert timeline.batches().dtype["flags"] == np.uint32
    assert timeline.stages().dtype["stage"] == np.int32
    assert len(timeline.batches()) == len(timeline.stages()) == len(timeline.anchors()) == 0


def test_interleaved_batches_are_sorted_by_their_start() -> None:
    timeline = _core.Timeline(STAGES)
    first, second = timeline.begin_batch(1), timeline.begin_batch(2)
    second.mark("fetch")
    first.mark("forward")
    second.mark("emit")
    first.mark("emit")
    second.end()
    assert recorded(timeline) == {2: ["fetch", "emit"]}
    first.end()
    assert recorded(timeline) == {1: ["forward", "emit"], 2: ["fetch", "emit"]}
    assert list(timeline.batches()["index"]) == [1, 2]


def test_a_discarded_batch_is_not_recorded() -> None:
    timeline = _core.Timeline(STAGES)
    with timeline.begin_batch(0) as kept:
        kept.mark("fetch")
    lost = timeline.begin_batch(1)
    lost.mark("fetch")
    lost.discard()
    lost.discard()
    lost.end()
    with timeline.begin_batch(2) as kept:
        kept.mark("emit")
    assert recorded(timeline) == {0: ["fetch"], 2: ["emit"]}


def test_a_batch_that_never_ended_is_not_recorded() -> None:
    timeline = _core.Timeline(STAGES)
    timeline.begin_batch(0).mark("fetch")
    gc.collect()
    assert recorded(timeline) == {}


def test_stage_contexts_overlap_the_marked_stage() -> None:
    timeline = _core.Timeline(STAGES)
    batch = timeline.begin_batch(0)
    batch.mark("forward")
    scope = batch.stage("fetch")
    with scope, pytest.raises(ValueError, match="entered already"):
        scope.__enter__()
    with scope:
        pass
    left_open = batch.stage("emit").__enter__()
    batch.end()
    left_open.__exit__(None, None, None)
    stages = timeline.stages()
    assert [STAGES[number] for number in stages["stage"]] == ["forward", "fetch", "fetch", "emit"]
    end = timeline.batches()[0]["host_end_ns"]
    assert stages[0]["host_end_ns"] == stages[3]["host_end_ns"] == end
    assert stages[1]["host_end_ns"] < end


def test_an_exception_in_a_batch_ends_it_and_passes() -> None:
    timeline = _core.Timeline(STAGES)
    with pytest.raises(KeyError), timeline.begin_batch(3) as batch, batch.stage("forward"):
        raise KeyError
    assert recorded(timeline) == {3: ["forward"]}
    assert timeline.stages()[0]["host_end_ns"] != _core.NOT_MEASURED


def test_external_intervals_are_sorted_by_their_start() -> None:
    timeline = _core.Timeline(STAGES)
    batch = timeline.begin_batch(0)
    batch.mark("forward")
    batch.record_interval("fetch", 5, 9)
    batch.end()
    assert recorded(timeline) == {0: ["fetch", "forward"]}
    assert tuple(timeline.stages()[0])[1:3] == (5, 9)


def test_packing_statistics_and_flags() -> None:
    timeline = _core.Timeline(STAGES)
    cases: list[tuple[list[int], int | None, int]] = [
        ([0, 3, 10], 16, _core.Timeline.HAS_PACKING),
        ([0, 20], 16, _core.Timeline.HAS_PACKING | _core.Timeline.OVERSIZE),
        ([0, 20], None, _core.Timeline.HAS_PACKING),
    ]
    for index, (cu_seqlens, budget, _) in enumerate(cases):
        with timeline.begin_batch(index) as batch:
            batch.set_packing(_core.pack_statistics(np.array([0, 99], np.int32), 1))  # replaced by the next
            batch.set_packing(_core.pack_statistics(np.array(cu_seqlens, np.int32), budget))
    timeline.begin_batch(3).end()
    rows = timeline.batches()
    assert list(rows["flags"]) == [flags for *_, flags in cases] + [0]
    assert list(rows["token_budget"]) == [16, 16, 0, 0]
    assert list(rows["tokens"]) == [10, 20, 20, _core.NOT_MEASURED]
    fields = ["sequences", "min_length", "max_length", "sum_squared_lengths"]
    assert rows[fields][0].tolist() == (2, 3, 7, 58)
    assert rows[fields][3].tolist() == (_core.NOT_MEASURED,) * 4


def test_the_error_of_an_unknown_stage_lists_the_known_ones() -> None:
    batch = _core.Timeline(STAGES).begin_batch(0)
    calls: list[Any] = [
        lambda: batch.mark("fetsh"),
        lambda: batch.stage("fetsh"),
        lambda: batch.record_interval("fetsh", 0, 1),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="no stage 'fetsh'; the stages are: fetch, forward, emit"):
            call()


def test_an_ended_batch_refuses_further_records() -> None:
    timeline = _core.Timeline(STAGES)
    batch = timeline.begin_batch(4)
    scope = batch.stage("fetch")
    batch.end()
    statistics = _core.pack_statistics(np.array([0, 1], np.int32))
    calls: list[Any] = [
        lambda: batch.mark("fetch"),
        lambda: batch.record_interval("fetch", 0, 1),
        lambda: batch.set_packing(statistics),
        scope.__enter__,
    ]
    for call in calls:
        with pytest.raises(ValueError, match="batch 4 has ended"):
            call()
    batch.end_stage()
    batch.end()
    assert recorded(timeline) == {4: []}


def test_an_interval_cannot_end_before_it_starts() -> None:
    batch = _core.Timeline(STAGES).begin_batch(0)
    with pytest.raises(ValueError, match="ends before it starts"):
        batch.record_interval("fetch", 2, 1)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([],), {}, "stages is empty"),
        ((["a", "a"],), {}, "'a' is named twice"),
        ((["a", ""],), {}, "name is empty"),
        ((["a"], ["b"]), {}, "no stage 'b'"),
        (([f"s{i}" for i in range(65)],), {}, "65 stages"),
        ((["a"],), {"event_pool_size": 0}, "event_pool_size"),
        ((["a"],), {"collect_interval_ms": 0}, "collect_interval_ms"),
        ((["a"],), {"clock_sync_interval_ms": -1.0}, "clock_sync_interval_ms"),
        ((["a"],), {"clock_sync_interval_ms": float("nan")}, "clock_sync_interval_ms"),
    ],
)
def test_invalid_options(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _core.Timeline(*arguments, **options)


def test_stop_twice_and_use_after_stop() -> None:
    timeline = _core.Timeline(STAGES)
    batch = timeline.begin_batch(0)
    timeline.stop()
    timeline.stop(0.0)
    with pytest.raises(ValueError, match="stopped"):
        timeline.begin_batch(1)
    batch.mark("emit")  # a batch that has begun may end
    batch.end()
    assert recorded(timeline) == {0: ["emit"]}
    with pytest.raises(ValueError, match="timeout_s"):
        timeline.stop(-1.0)


def test_without_a_device_the_timeline_gives_the_reason() -> None:
    timeline = _core.Timeline(STAGES, ["forward"])
    with timeline.begin_batch(0) as batch:
        batch.mark("forward", 123)
    assert timeline.device_enabled is False
    assert timeline.device_error is None
    assert timeline.dropped_batches == 0
    assert timeline.stage_names == STAGES


def test_batches_outlive_their_timeline() -> None:
    batch = _core.Timeline(STAGES).begin_batch(0)
    gc.collect()
    batch.mark("forward")
    batch.end()
    assert batch.index == 0


def test_memory_is_as_documented() -> None:
    timeline = _core.Timeline(STAGES)
    assert timeline.memory_bytes == 0
    batches, stages_each = 20_000, 2
    for index in range(batches):
        with timeline.begin_batch(index) as batch:
            batch.mark("fetch")
            batch.mark("forward")
    records = batches * (timeline.BATCH_RECORD_BYTES + stages_each * timeline.STAGE_RECORD_BYTES)
    assert records <= timeline.memory_bytes <= records + 4 * timeline.CHUNK_BYTES


def test_two_threads_with_their_own_batches() -> None:
    timeline = _core.Timeline(STAGES)

    def work(first: int) -> None:
        for index in range(first, first + 500):
            with timeline.begin_batch(index) as batch:
                batch.mark("fetch")
                batch.mark("emit")

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 1000)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        timeline.batches()
    for thread in threads:
        thread.join()
    everything = recorded(timeline)
    assert len(everything) == 1000
    assert set(map(tuple, everything.values())) == {("fetch", "emit")}


def test_the_core_raises_the_errors_of_the_package() -> None:
    assert issubclass(LibraryUnavailable, VirnucError)
    assert issubclass(CudaError, VirnucError)
