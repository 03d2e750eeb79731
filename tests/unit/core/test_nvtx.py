# SPDX-License-Identifier: MIT
"""NVTX ranges as an attached tool sees them."""

import threading

from tests.support.standin import NvtxCall, Standins, nvtx_calls
from virnuc_profiler import _core

STAGES = ["fetch", "forward", "emit"]
UNSIGNED_INT64 = "1"


def ranges(calls: list[NvtxCall]) -> list[str]:
    """Pushes as "stage index", pops as "pop"."""
    return [f"{call.fields[0]} {call.fields[3]}" if call.call == "push" else "pop" for call in calls]


def ranges_of_thread(thread: int) -> list[str]:
    return ranges([call for call in nvtx_calls() if call.thread == thread and call.call in ("push", "pop")])


def mark_stages() -> None:
    for _ in range(2):  # a second timeline registers nothing again
        timeline = _core.Timeline(STAGES)
        with timeline.begin_batch(2**40) as batch:
            batch.mark("fetch")
            batch.mark("forward")
    calls = nvtx_calls()
    assert {call.domain for call in calls} == {"virnuc_profiler"}
    assert [call.call for call in calls].count("domain") == 1
    categories = {c.fields[1]: c.fields[0] for c in calls if c.call == "category"}
    assert sorted(categories) == sorted(STAGES)
    assert len(set(categories.values())) == 3
    assert sum(call.call == "string" for call in calls) == 3
    pushes = [call.fields for call in calls if call.call == "push"]
    expected = [(stage, categories[stage], UNSIGNED_INT64, str(2**40)) for stage in ("fetch", "forward")]
    assert pushes == expected * 2
    each = [f"fetch {2**40}", "pop", f"forward {2**40}", "pop"]
    assert ranges_of_thread(threading.get_native_id()) == each * 2


def interleave_batches() -> None:
    timeline = _core.Timeline(STAGES)
    first, second = timeline.begin_batch(1), timeline.begin_batch(2)
    first.mark("fetch")
    second.mark("fetch")
    first.end()  # not the innermost range: it closes after the inner one
    assert ranges_of_thread(threading.get_native_id()) == ["fetch 1", "fetch 2"]
    second.end()
    assert ranges_of_thread(threading.get_native_id()) == ["fetch 1", "fetch 2", "pop", "pop"]
    assert timeline.cross_thread_ranges == 0


def end_on_another_thread() -> None:
    timeline = _core.Timeline(STAGES)
    batch = timeline.begin_batch(1)
    batch.mark("forward")
    other: list[int] = []

    def finish() -> None:
        other.append(threading.get_native_id())
        batch.mark("emit")
        batch.end()

    thread = threading.Thread(target=finish)
    thread.start()
    thread.join()
    assert timeline.cross_thread_ranges == 1
    assert ranges_of_thread(other[0]) == ["emit 1", "pop"]
    own = threading.get_native_id()
    assert ranges_of_thread(own) == ["forward 1"]
    with timeline.begin_batch(2) as following:
        following.mark("fetch")
    assert ranges_of_thread(own) == ["forward 1", "pop", "fetch 2", "pop"]


def turn_nvtx_off() -> None:
    timeline = _core.Timeline(STAGES, nvtx=False)
    with timeline.begin_batch(0) as batch, batch.stage("emit"):
        batch.mark("fetch")
    assert nvtx_calls() == []


def test_names_categories_and_payloads(standins: Standins) -> None:
    standins.call(mark_stages, libraries=("nvtx",))


def test_interleaved_batches_close_in_order(standins: Standins) -> None:
    standins.call(interleave_batches, libraries=("nvtx",))


def test_a_stage_that_ends_on_another_thread_keeps_both_balanced(standins: Standins) -> None:
    standins.call(end_on_another_thread, libraries=("nvtx",))


def test_nvtx_can_be_turned_off(standins: Standins) -> None:
    standins.call(turn_nvtx_off, libraries=("nvtx",))
