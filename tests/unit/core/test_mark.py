# SPDX-License-Identifier: MIT
"""Batch.mark parses its own arguments; each error names the thing, the value and the way out."""

import threading
from typing import Any

import numpy as np
import pytest

from virnuc_profiler import BatchProfiler, _core

STAGES = ["fetch", "forward", "emit"]


@pytest.fixture
def timeline() -> _core.Timeline:
    return _core.Timeline(STAGES, nvtx=False)


@pytest.fixture
def batch(timeline: _core.Timeline) -> _core.Batch:
    return timeline.begin_batch(4)


def recorded(timeline: _core.Timeline) -> list[str]:
    return [STAGES[number] for number in timeline.stages()["stage"]]


def test_arguments_by_position_and_by_name(timeline: _core.Timeline, batch: _core.Batch) -> None:
    batch.mark("fetch")
    batch.mark("forward", 7)
    batch.mark("emit", None)
    batch.mark(stage="fetch")
    batch.mark("forward", stream=7)
    batch.mark(stream=None, stage="emit")
    batch.mark("fetch", np.uint64(7))  # any integer, as batch.stage() takes it
    batch.mark("emit", 2**64 - 1)
    batch.end()
    assert recorded(timeline) == ["fetch", "forward", "emit", "fetch", "forward", "emit", "fetch", "emit"]


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((), {}, r"mark\(\) needs a stage: mark\(stage, stream=None\)"),
        ((), {"stream": 7}, r"mark\(\) needs a stage: mark\(stage, stream=None\)"),
        (("fetch", 7, 8), {}, r"mark\(\) takes a stage and a stream, got 3 arguments: mark\(stage, stream=None\)"),
        (("fetch", 7), {"stream": 8}, r"mark\(\) got 'stream' twice"),
        (("fetch", None), {"stream": 8}, r"mark\(\) got 'stream' twice"),
        (("fetch",), {"stage": "emit"}, r"mark\(\) got 'stage' twice"),
        (("fetch",), {"steam": 7}, r"mark\(\) has no argument 'steam': mark\(stage, stream=None\)"),
        (("fetch",), {"\ud800": 7}, r"mark\(\) has no argument"),
        ((None,), {}, r"stage is None, must be the name \(str\) of one of the profiler's stages"),
        ((1,), {}, "stage is 1, must be the name"),
        ((-1,), {}, "stage is -1, must be the name"),
        ((99,), {}, "stage is 99, must be the name"),
        ((b"fetch",), {}, "stage is b'fetch', must be the name"),
        ((["fetch"],), {}, r"stage is \['fetch'\], must be the name"),
        (("fetch", "7"), {}, r"stream is '7', must be a CUstream handle .*cuda_stream"),
        (("fetch", 7.0), {}, r"stream is 7\.0, must be a CUstream handle .*cuda_stream"),
        (("fetch",), {"stream": object}, r"stream is <class 'object'>, must be a CUstream handle .*cuda_stream"),
    ],
)
def test_wrong_arguments_are_type_errors(
    timeline: _core.Timeline, batch: _core.Batch, arguments: Any, named: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        batch.mark(*arguments, **named)
    batch.end()
    assert recorded(timeline) == []


@pytest.mark.parametrize(
    ("stage", "stream", "message"),
    [
        ("fetch", -1, "stream is -1, must be a CUstream handle"),
        ("fetch", 2**64, "stream is 18446744073709551616, must be a CUstream handle"),
        ("fetch", -(2**70), "stream is -1180591620717411303424, must be a CUstream handle"),
        ("", None, "no stage ''; the stages are: fetch, forward, emit"),
        ("Fetch", None, "no stage 'Fetch'; the stages are: fetch, forward, emit"),
        ("\ud800", None, "surrogates not allowed"),
    ],
)
def test_wrong_values_are_value_errors(
    timeline: _core.Timeline, batch: _core.Batch, stage: str, stream: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        batch.mark(stage, stream)
    batch.end()
    assert recorded(timeline) == []


def test_an_invalid_mark_does_not_end_the_current_stage(timeline: _core.Timeline, batch: _core.Batch) -> None:
    batch.mark("forward")
    wrong: list[Any] = ["fetsh", 3, None]
    for stage in wrong:
        with pytest.raises((TypeError, ValueError)):
            batch.mark(stage)
    batch.end()
    assert recorded(timeline) == ["forward"]
    assert timeline.stages()[0]["host_end_ns"] == timeline.batches()[0]["host_end_ns"]


class Unprintable:
    def __repr__(self) -> str:
        raise KeyError("mine")


class Index:
    """An integer-like object whose conversion fails."""

    def __index__(self) -> int:
        raise KeyError("mine")


@pytest.mark.parametrize("arguments", [(Unprintable(),), ("fetch", Unprintable()), ("fetch", Index())])
def test_an_error_raised_by_an_argument_passes(batch: _core.Batch, arguments: Any) -> None:
    with pytest.raises(KeyError, match="mine"):
        batch.mark(*arguments)


def test_only_batches_can_be_marked(batch: _core.Batch) -> None:
    mark: Any = _core.Batch.mark
    mark(batch, "fetch")
    with pytest.raises(TypeError, match=r"Batch.* doesn't apply to a 'object' object"):
        mark(object(), "fetch")
    with pytest.raises(TypeError, match="needs an argument"):
        mark()
    with pytest.raises(ValueError, match=r"was not made by a Timeline.*begin_batch"):
        _core.Batch.__new__(_core.Batch).mark("fetch")


def test_the_error_of_a_mark_after_the_end_says_what_to_do(timeline: _core.Timeline) -> None:
    for close in ("end", "discard"):
        batch = timeline.begin_batch(4)
        getattr(batch, close)()
        with pytest.raises(ValueError, match=r"batch 4 has ended: begin another with begin_batch\(\)"):
            batch.mark("fetch")


def test_a_mark_after_stop_says_that_the_run_is_over() -> None:
    profiler = BatchProfiler(device="cpu", stages=STAGES, nvtx_ranges=False)
    profiler.start()
    batch = profiler.begin_batch()
    batch.mark("fetch")
    run = profiler.stop()
    with pytest.raises(ValueError, match="batch 0 has ended: its run is over, start another"):
        batch.mark("forward")
    assert [stage.name for stage in run.batches[0].stages] == ["fetch"]


def test_another_thread_may_mark(timeline: _core.Timeline, batch: _core.Batch) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        batch.mark("forward")
        try:
            batch.mark("forwards")
        except ValueError as error:
            errors.append(error)

    batch.mark("fetch")
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    batch.mark("emit")
    batch.end()
    assert recorded(timeline) == ["fetch", "forward", "emit"]
    assert "no stage 'forwards'" in str(errors[0])
