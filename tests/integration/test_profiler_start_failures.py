# SPDX-License-Identifier: MIT
"""A run that cannot start, or whose start or end is interrupted, leaves nothing running."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nvtx
import pytest

from tests.support.nvtx_ranges import replay_ranges
from tests.support.standin import CudaControl, NvmlControl, Standins
from virnuc_profiler import BatchProfiler, _core
from virnuc_profiler.errors import CudaError, VirnucError

ILLEGAL_ADDRESS = 700


def new_profiler(**options: Any) -> BatchProfiler:
    settings: dict[str, Any] = {"device": 0, "stages": ("forward",), "capture_range": True}
    return BatchProfiler(**(settings | options))


def threads() -> int:
    """Count the native threads of this process, after those that were asked to end are gone."""
    time.sleep(0.02)
    return len(list(Path("/proc/self/task").iterdir()))


def fails(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


def then_fails(work: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
    """Wrap `work` as if a signal arrived while it runs: the error is raised after it returns."""

    def do(*arguments: Any, **named: Any) -> None:
        work(*arguments, **named)
        raise error

    return do


class InterruptedSampler:
    """A sampler whose start is interrupted after its threads have started."""

    def __init__(self, uuid: str) -> None:
        self._sampler = _core_sampler(uuid)
        self.stop = self._sampler.stop

    def start(self) -> None:
        self._sampler.start()
        raise KeyboardInterrupt


_core_sampler = _core.GpuSampler


def start_without_success(case: str) -> None:
    cuda, nvml = CudaControl(), NvmlControl()
    profiler = new_profiler()
    before = threads()
    error: type[BaseException] = KeyboardInterrupt
    mended: list[tuple[Any, str, Any]] = []

    def replace(owner: Any, name: str, value: Any) -> None:
        mended.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    if case == "the range cannot begin":
        cuda.fail("cuProfilerStart", ILLEGAL_ADDRESS)
        error = CudaError
    elif case == "interrupted as the range has begun":
        replace(_core, "CaptureRange", then_fails(_core.CaptureRange, KeyboardInterrupt()))
    elif case == "no thread for the sampler":
        replace(_core, "GpuSampler", fails(RuntimeError("Resource temporarily unavailable")))
        error = RuntimeError
    elif case == "interrupted as the sampler has started":
        replace(_core, "GpuSampler", InterruptedSampler)
    elif case == "interrupted as the phase begins":
        replace(nvtx, "start_range", fails(KeyboardInterrupt()))
    elif case == "interrupted at the very end":
        replace(_core, "monotonic_ns", fails(KeyboardInterrupt()))
    with pytest.raises(error), profiler:
        raise AssertionError("the body ran")
    assert threads() == before
    assert cuda.profiled_device == -1, "tools would go on capturing"
    assert (cuda.live_events, cuda.retained_contexts) == (0, 0)
    assert nvml.calls("nvmlDeviceGetPowerUsage") <= 1
    with pytest.raises(RuntimeError, match="not running"):
        profiler.stop()

    cuda.fail("cuProfilerStart", 0)
    for owner, name, value in mended:
        setattr(owner, name, value)
    with profiler:  # the same profiler can start later
        profiler.begin_batch().end()
    assert len(profiler.result.batches) == 1
    assert threads() == before
    assert (cuda.live_events, cuda.retained_contexts) == (0, 0)
    assert replay_ranges().open_at_the_end == []


CASES = [
    "the range cannot begin",
    "interrupted as the range has begun",
    "no thread for the sampler",
    "interrupted as the sampler has started",
    "interrupted as the phase begins",
    "interrupted at the very end",
]


@pytest.mark.parametrize("case", CASES)
def test_a_failed_start_leaves_nothing_running(standins: Standins, case: str) -> None:
    standins.call(start_without_success, case, libraries=("cuda", "nvml", "nvtx"))


def interrupt_the_end() -> None:
    """Ctrl-C during the wait for device times loses the result, but ends the run."""
    cuda = CudaControl()
    profiler = new_profiler()
    before = threads()
    profiler.start()
    profiler.begin_batch()
    timeline: Any = profiler._timeline

    class Interrupted:
        def stop(self, *timeout_s: float) -> None:
            timeline.stop(*timeout_s)
            raise KeyboardInterrupt

    profiler._timeline = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        profiler.stop()
    assert threads() == before
    assert cuda.profiled_device == -1, "tools would go on capturing"
    profiler.start()
    profiler.begin_batch().end()
    assert len(profiler.stop().batches) == 1
    assert cuda.live_events == 0


def lack_the_range() -> None:
    """cudaProfilerStop fails because the device is lost; the result is complete anyway."""
    cuda = CudaControl()
    profiler = new_profiler(sample_gpu=False)
    with profiler:
        profiler.begin_batch().end()
        cuda.fail("cuProfilerStop", ILLEGAL_ADDRESS)
    assert len(profiler.result.batches) == 1


def bracket_the_measured_device() -> None:
    """The profiler calls apply to the current context, so none, another library's and another device's are tried."""
    cuda = CudaControl()
    cuda.set_devices(2)
    profiler = new_profiler(device=1, sample_gpu=False)
    with profiler:
        profiler.begin_batch().end()
    cuda.use_other_context(True)
    with profiler:
        profiler.begin_batch().end()
    cuda.use_other_context(False)
    assert cuda.profiled_device == -1
    profiler.start()
    assert cuda.profiled_device == 1
    profiler.stop()
    assert cuda.profiled_device == -1
    begun = _core.CaptureRange(1)
    assert cuda.profiled_device == 1
    del begun  # a range that is dropped ends
    assert cuda.profiled_device == -1
    assert (cuda.live_events, cuda.retained_contexts) == (0, 0)
    with pytest.raises(VirnucError, match="CUDA_ERROR_INVALID_DEVICE"):
        _core.CaptureRange(2)


@pytest.mark.parametrize(
    "scenario", [interrupt_the_end, lack_the_range, bracket_the_measured_device], ids=lambda scenario: scenario.__name__
)
def test_capture_ranges(standins: Standins, scenario: Any) -> None:
    standins.call(scenario)
