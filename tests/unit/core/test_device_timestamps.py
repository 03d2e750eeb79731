# SPDX-License-Identifier: MIT
"""Stages that are timed by the device's global timer, through the stand-in driver; missing times are counted."""

from typing import Any

import pytest

from tests.support.standin import CudaControl, Standins
from virnuc_profiler import _core

STAGES = ["h2d", "forward", "d2h", "emit"]
COMPUTE = 0x77
MS = 1_000_000
BACKLOG = 300 * MS
"""Work to queue before the measurement, so that the host's pace does not affect device times."""
BEHIND = 987_654_321_000
"""Offset of the device's global timer from the clock of its events, an arbitrary number."""


def new_timeline(device_stages: tuple[str, ...] = ("h2d", "forward", "d2h"), **options: Any) -> _core.Timeline:
    settings: dict[str, Any] = {"device": 0, "stream": COMPUTE, "collect_interval_ms": 1.0}
    return _core.Timeline(STAGES, device_stages, **(settings | options))


def times_of(timeline: _core.Timeline, stage: str) -> list[tuple[int, int]]:
    rows = timeline.stages()
    chosen = rows[rows["stage"] == STAGES.index(stage)]
    return [(int(row["device_start_ns"]), int(row["device_end_ns"])) for row in chosen]


def place_stamps_among_events() -> None:
    """The event after a timestamped stage comes late in all batches but one."""
    cuda = CudaControl()
    timeline = new_timeline()
    before = cuda.calls("cuEventRecord")
    cuda.launch(COMPUTE, BACKLOG)
    begins = 0
    for index, delay in enumerate((5, 2, 0, 3)):
        with timeline.begin_batch(index) as batch:
            batch.mark("h2d")
            cuda.launch(COMPUTE, 1 * MS)
            assert batch.mark_device_timestamped("forward", COMPUTE, "d2h")
            cuda.launch(COMPUTE, (3 + delay) * MS)
            batch.mark("d2h")
            cuda.launch(COMPUTE, 2 * MS)
            batch.mark("emit")
            batch.set_device_timestamps(BEHIND + begins + 1 * MS, BEHIND + begins + 4 * MS)
        begins += (1 + 3 + delay + 2) * MS
    assert cuda.calls("cuEventRecord") - before == 4 * 4  # none for the timestamped stage itself
    timeline.stop()
    assert timeline.dropped_batches == 0
    rows = timeline.stages()
    forward = rows["stage"] == STAGES.index("forward")
    assert rows["timestamped"].tolist() == forward.astype(int).tolist()
    copied_in, computed = times_of(timeline, "h2d"), times_of(timeline, "forward")
    for (_, h2d_end), (start, end) in zip(copied_in, computed, strict=True):
        assert start == pytest.approx(h2d_end, abs=1_000)
        assert end - start == pytest.approx(3 * MS, abs=1_000)


def launch_one_by_one() -> None:
    cuda = CudaControl()
    timeline = new_timeline()
    for gapless in (True, False):
        with timeline.begin_batch(int(gapless)) as batch:
            batch.mark_device_timestamped("forward", COMPUTE, "d2h", gapless)
            cuda.launch(COMPUTE, 1 * MS)
            batch.mark("d2h")
            batch.set_device_timestamps(BEHIND, BEHIND + MS)
    timeline.stop()
    rows = timeline.stages()
    assert rows[rows["stage"] == STAGES.index("forward")]["timestamped"].tolist() == [1, 0]
    assert timeline.dropped_batches == 0


def fall_back_to_events() -> None:
    cuda = CudaControl()
    for device_stages in (("forward",), ("h2d", "forward")):
        timeline = new_timeline(device_stages)
        with timeline.begin_batch(0) as batch:
            assert not batch.mark_device_timestamped("forward", COMPUTE, "d2h")
            cuda.launch(COMPUTE, 3 * MS)
            batch.mark("d2h")
            with pytest.raises(ValueError, match="no stage of batch 0 waits for timestamps"):
                batch.set_device_timestamps(1, 2)
        timeline.stop()
        start, end = times_of(timeline, "forward")[0]
        assert end - start == pytest.approx(3 * MS, abs=100_000)
        assert timeline.dropped_batches == 0


def ask_for_none_without_a_device() -> None:
    for timeline in (new_timeline(device=None), new_timeline(("h2d", "d2h"))):
        with timeline.begin_batch(0) as batch:
            assert not batch.mark_device_timestamped("forward", None, "d2h")
            batch.mark("d2h")
        timeline.stop()
        assert times_of(timeline, "forward") == [(_core.NOT_MEASURED, _core.NOT_MEASURED)]
        assert timeline.dropped_batches == 0


def lack_stamps() -> None:
    """Times that were never set or only half written are missing and counted; other batches keep theirs."""
    CudaControl()
    timeline = new_timeline()
    for index, times in enumerate([(BEHIND, BEHIND + MS), None, (0, 0), (BEHIND, 0), (BEHIND, BEHIND + MS)]):
        with timeline.begin_batch(index) as batch:
            assert batch.mark_device_timestamped("forward", COMPUTE, "d2h")
            batch.mark("d2h")
            if times is not None:
                batch.set_device_timestamps(*times)
    timeline.stop()
    dropped = (timeline.batches()["flags"] & timeline.DEVICE_TIMES_DROPPED) != 0
    assert dropped.tolist() == [False, True, True, True, False]
    measured = [start != _core.NOT_MEASURED for start, _ in times_of(timeline, "forward")]
    assert measured == [True, False, False, False, True]


def have_nothing_to_place_them_by() -> None:
    """The only timestamped batch has lost the event that would relate its clock to the events."""
    cuda = CudaControl()
    timeline = new_timeline(event_pool_size=1)
    cuda.hold(COMPUTE)
    with timeline.begin_batch(0) as batch:
        batch.mark("h2d")
        assert batch.mark_device_timestamped("forward", COMPUTE, "d2h")
        batch.mark("d2h")
        batch.set_device_timestamps(BEHIND, BEHIND + MS)
    cuda.release(COMPUTE)
    timeline.stop()
    assert times_of(timeline, "forward") == [(_core.NOT_MEASURED, _core.NOT_MEASURED)]
    assert timeline.dropped_batches == 1


def lose_the_device() -> None:
    cuda = CudaControl()
    timeline = new_timeline()
    cuda.vanish()
    with timeline.begin_batch(0) as batch:
        batch.mark("h2d")
        assert not batch.mark_device_timestamped("forward", COMPUTE, "d2h")
    timeline.stop()
    assert timeline.dropped_batches == 1


def misuse() -> None:
    CudaControl()
    timeline = new_timeline()
    batch = timeline.begin_batch(0)
    with pytest.raises(ValueError, match="no stage 'forwards'"):
        batch.mark_device_timestamped("forwards", COMPUTE, "d2h")
    with pytest.raises(ValueError, match="no stage 'copy'"):
        batch.mark_device_timestamped("forward", COMPUTE, "copy")
    batch.mark_device_timestamped("forward", COMPUTE, "d2h")
    batch.set_device_timestamps(1, 2)
    with pytest.raises(ValueError, match="set them once"):
        batch.set_device_timestamps(1, 2)
    batch.end()
    with pytest.raises(ValueError, match="has ended"):
        batch.mark_device_timestamped("forward", COMPUTE, "d2h")
    batch.set_device_timestamps(1, 2)  # too late: ignored
    timeline.stop()


def mark_other_stages_first() -> None:
    """Only the stage named as the follower relates the clocks, even if other stages are timed in between."""
    cuda = CudaControl()
    timeline = new_timeline()
    cuda.launch(COMPUTE, BACKLOG)
    with timeline.begin_batch(0) as batch:
        batch.mark("h2d")
        cuda.launch(COMPUTE, 1 * MS)
        assert batch.mark_device_timestamped("forward", COMPUTE, "d2h")
        cuda.launch(COMPUTE, 3 * MS)
        with batch.stage("h2d", 0x99):  # of the next batch, say: at once, on an idle stream
            cuda.launch(0x99, 1 * MS)
        batch.mark("d2h")
        batch.mark("emit")
        batch.set_device_timestamps(BEHIND + 1 * MS, BEHIND + 4 * MS)
    timeline.stop()
    (_, h2d_end), (start, end) = times_of(timeline, "h2d")[0], times_of(timeline, "forward")[0]
    assert start == pytest.approx(h2d_end, abs=1_000)
    assert end - start == pytest.approx(3 * MS, abs=1_000)
    assert timeline.dropped_batches == 0


def pass_twice() -> None:
    """A second pass comes between the timestamped one and the follower, which then tells nothing about the clocks."""
    cuda = CudaControl()
    timeline = new_timeline()
    cuda.launch(COMPUTE, BACKLOG)
    with timeline.begin_batch(0) as batch:
        batch.mark("h2d")
        cuda.launch(COMPUTE, 1 * MS)
        assert batch.mark_device_timestamped("forward", COMPUTE, "d2h")
        cuda.launch(COMPUTE, 3 * MS)
        batch.mark("forward", COMPUTE)
        cuda.launch(COMPUTE, 5 * MS)
        batch.mark("d2h")
        batch.set_device_timestamps(BEHIND + 1 * MS, BEHIND + 4 * MS)
    timeline.stop()
    (_, h2d_end), (first, second) = times_of(timeline, "h2d")[0], times_of(timeline, "forward")
    assert first == pytest.approx((h2d_end, h2d_end + 3 * MS), abs=1_000)
    assert second == pytest.approx((h2d_end + 3 * MS, h2d_end + 8 * MS), abs=1_000)
    assert timeline.dropped_batches == 0


def break_the_promise() -> None:
    """A missing follower, or a second timestamped stage without times, marks the batch as incomplete."""
    CudaControl()
    timeline = new_timeline()
    with timeline.begin_batch(0) as batch:
        batch.mark_device_timestamped("forward", COMPUTE, "d2h")
        batch.set_device_timestamps(BEHIND, BEHIND + MS)
    with timeline.begin_batch(1) as batch:
        batch.mark_device_timestamped("forward", COMPUTE, "d2h")
        batch.mark_device_timestamped("forward", COMPUTE, "d2h")
        batch.mark("d2h")
        batch.set_device_timestamps(BEHIND, BEHIND + MS)
    with timeline.begin_batch(2) as batch:
        batch.mark_device_timestamped("forward", COMPUTE, "d2h")
        batch.mark("d2h")
        batch.set_device_timestamps(BEHIND, BEHIND + MS)
    timeline.stop()
    dropped = (timeline.batches()["flags"] & timeline.DEVICE_TIMES_DROPPED) != 0
    assert dropped.tolist() == [True, True, False]


SCENARIOS = [
    place_stamps_among_events,
    launch_one_by_one,
    fall_back_to_events,
    ask_for_none_without_a_device,
    lack_stamps,
    have_nothing_to_place_them_by,
    lose_the_device,
    misuse,
    mark_other_stages_first,
    pass_twice,
    break_the_promise,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_global_timer(standins: Standins, scenario: Any) -> None:
    standins.call(scenario)
