# SPDX-License-Identifier: MIT
"""Stages that are one asynchronous copy, which the timeline queues itself, through the stand-in driver."""

import ctypes
import re

import pytest

from tests.support.standin import CudaControl, Standins
from virnuc_profiler import _core

STAGES = ["h2d", "forward"]
STREAM = 0x77


class Memory:
    """Source and target of a copy, on the host."""

    def __init__(self) -> None:
        self.source = ctypes.create_string_buffer(b"a pack of tokens")
        self.target = ctypes.create_string_buffer(len(self.source))
        self.arguments = ctypes.addressof(self.target), ctypes.addressof(self.source), len(self.source)

    def copied(self) -> bool:
        return self.target.raw == self.source.raw


def copy_as_a_stage() -> None:
    cuda, memory = CudaControl(), Memory()
    timeline = _core.Timeline(STAGES, STAGES, device=0, stream=STREAM)
    before = cuda.calls("cuEventRecord")
    with timeline.begin_batch(0) as batch:
        assert batch.copy("h2d", STREAM, *memory.arguments)
        assert memory.copied()
        assert cuda.calls("cuEventRecord") == before + 2  # nothing else ends the copy
        batch.mark("forward")
    timeline.stop()
    assert cuda.calls("cuMemcpyAsync") == 1
    copy, forward = timeline.stages()
    assert [STAGES[stage["stage"]] for stage in (copy, forward)] == STAGES
    assert _core.NOT_MEASURED < copy["device_start_ns"] <= copy["device_end_ns"] <= forward["device_start_ns"]
    assert copy["host_end_ns"] <= forward["host_start_ns"]


def refuse_the_copy() -> None:
    CudaControl().fail("cuMemcpyAsync", 1)
    memory = Memory()
    assert not _core.Timeline(STAGES).begin_batch(0).copy("h2d", STREAM, *memory.arguments)
    assert not _core.copy_async(*memory.arguments, STREAM)
    assert not memory.copied()


def lose_the_events() -> None:
    timeline, memory = _core.Timeline(STAGES, STAGES, device=0), Memory()
    CudaControl().fail("cuEventRecord", 700)
    assert timeline.begin_batch(0).copy("h2d", STREAM, *memory.arguments)
    assert memory.copied()


def misuse() -> None:
    batch, memory = _core.Timeline(STAGES).begin_batch(0), Memory()
    with pytest.raises(ValueError, match="no stage 'd2h'"):
        batch.copy("d2h", STREAM, *memory.arguments)
    batch.end()
    with pytest.raises(ValueError, match=re.escape("batch 0 has ended")):
        batch.copy("h2d", STREAM, *memory.arguments)
    assert CudaControl().calls("cuMemcpyAsync") == 0


def copy_without_a_batch() -> None:
    memory = Memory()
    assert _core.copy_async(*memory.arguments, STREAM)
    assert memory.copied()


def test_a_copy_is_a_stage_of_its_own(standins: Standins) -> None:
    standins.call(copy_as_a_stage)


def test_a_refused_copy_is_reported(standins: Standins) -> None:
    standins.call(refuse_the_copy)


def test_a_failure_of_the_timing_does_not_lose_the_copy(standins: Standins) -> None:
    standins.call(lose_the_events)


def test_a_copy_of_an_ended_batch_or_of_an_unknown_stage_is_refused(standins: Standins) -> None:
    standins.call(misuse)


def test_an_unprofiled_copy_is_only_queued(standins: Standins) -> None:
    standins.call(copy_without_a_batch)


def test_without_a_driver_nothing_is_copied() -> None:
    memory = Memory()
    if not _core.cuda_status().available:
        assert not _core.copy_async(*memory.arguments, STREAM)
        assert not memory.copied()
