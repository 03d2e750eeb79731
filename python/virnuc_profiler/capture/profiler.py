# SPDX-License-Identifier: MIT
"""The profiler around a loop over batches."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar

import nvtx

from virnuc_profiler import _core
from virnuc_profiler.capture.assemble import assemble_run, collect_samples
from virnuc_profiler.capture.target import Target, current_stream, resolve_target
from virnuc_profiler.errors import LibraryUnavailable, VirnucError
from virnuc_profiler.telemetry.records import STAGES
from virnuc_profiler.telemetry.run_result import RunResult

NVTX_DOMAIN: Final = "virnuc_profiler"

_log = logging.getLogger(__name__)

_HOST_STAGES = frozenset({"fetch", "collate", "emit"})

Item = TypeVar("Item")
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


class BatchProfiler:
    """Times every batch of a loop, on the host and on the device, and samples the GPU meanwhile.

    As a context manager::

        with BatchProfiler() as profiler:
            for batch in profiler.batches(loader):
                with profiler.stage("forward"):
                    model(batch)
        profiler.result.save("run.json")

    It is a decorator too (each call of the function is a run), and :meth:`start`, :meth:`begin_batch` and
    :meth:`stop` do the same by hand. On hot paths, ``batch.mark(stage)`` on the batch that :meth:`begin_batch`
    returns ends the running stage and starts the next with one shared device event. Several batches may be open, and
    several threads may have batches of their own.

    Nothing on the way synchronizes the device. Without a GPU host times are taken, and ``result.device.reason`` says
    why there are no others.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, a number or a ``torch.device``.
        stages: names of the stages, in the order in which reports show them.
        device_stages: those that get a device interval; by default all but fetch, collate and emit.
        nvtx_ranges: whether stages are NVTX ranges in the domain ``virnuc_profiler``.
        sample_gpu: whether NVML is sampled.
        stream: the ``CUstream`` handle to time; by default PyTorch's current stream when the run starts.
        capture_range: whether the run is bracketed by cudaProfilerStart and -Stop, for tools that capture only what
            lies between (``nsys --capture-range=cudaProfilerApi``, ``ncu --profile-from-start off``).
        run_id: name of the run; by default the time it starts.
        metadata: anything JSON-able to keep with the result.

    Raises:
        UsageError: no such device.
        LibraryUnavailable: a GPU was asked for and there is no usable driver.
        ValueError: no stages, duplicates, or a device stage that is not a stage.
    """

    def __init__(
        self,
        *,
        device: Any = "auto",
        stages: Sequence[str] = STAGES,
        device_stages: Sequence[str] | None = None,
        nvtx_ranges: bool = True,
        sample_gpu: bool = True,
        stream: int | None = None,
        capture_range: bool = False,
        run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self._target: Target = resolve_target(device)
        self._stages = tuple(stages)
        if device_stages is None:
            device_stages = [stage for stage in self._stages if stage not in _HOST_STAGES]
        self._device_stages = tuple(device_stages)
        self._nvtx_ranges = nvtx_ranges
        self._sample_gpu = sample_gpu
        self._stream = stream
        self._capture_range = capture_range
        self._run_id = run_id
        self._metadata = dict(metadata or {})
        self._timeline: _core.Timeline | None = None
        self._sampler: _core.GpuSampler | None = None
        self._range: _core.CaptureRange | None = None
        self._phase: Any = None
        self._latest: dict[int, _core.Batch] = {}  # the batch that began last, by thread
        self._numbering = threading.Lock()
        self._next_index = 0
        self.result: RunResult | None = None
        # A wrong set of stages should fail here, where the caller names it, and not when the run starts.
        _core.Timeline(self._stages, self._device_stages, nvtx=False).stop(0.0)

    @property
    def device_name(self) -> str:
        """The device that is measured, ``cpu`` without a GPU."""
        return self._target.name

    @property
    def uses_device(self) -> bool:
        """Whether device times are taken."""
        return self._target.ordinal is not None

    @property
    def current_batch(self) -> _core.Batch | None:
        """The batch that began last in this thread."""
        return self._latest.get(threading.get_ident())

    def start(self) -> None:
        """Starts a run.

        Raises:
            RuntimeError: a run of this profiler is going on.
            CudaError: the device cannot be used.
        """
        if self._timeline is not None:
            raise RuntimeError("this BatchProfiler is running: stop it first, or use another one for a nested run")
        ordinal = self._target.ordinal
        stream = self._stream
        if stream is None:
            stream = 0 if ordinal is None else current_stream(ordinal)
        self.result = None
        self._started_at = datetime.now(timezone.utc)
        self._next_index = 0
        timeline = _core.Timeline(
            self._stages, self._device_stages, device=ordinal, stream=stream, nvtx=self._nvtx_ranges
        )
        try:
            self._sampling_reason = self._start_sampling()
            if self._capture_range and ordinal is not None:
                self._range = _core.CaptureRange(ordinal)
            if self._nvtx_ranges:
                # Python's nvtx marks the coarse phase; the stages inside it come from the compiled core.
                self._phase = nvtx.start_range("run", domain=NVTX_DOMAIN)
            self._started_ns = _core.monotonic_ns()
            self._timeline = timeline
        except BaseException:
            self._turn_off(timeline, timeout_s=0.0)
            raise

    def stop(self) -> RunResult:
        """Ends the run, with the last batch of each thread if that is open, and returns what was recorded.

        Waits for outstanding device times, at most ten seconds.

        Raises:
            RuntimeError: no run is going on.
        """
        timeline = self._running()
        for batch in list(self._latest.values()):
            batch.end()
        ended_ns = _core.monotonic_ns()
        sampler = self._sampler
        self._turn_off(timeline, timeout_s=10.0)
        self.result = assemble_run(
            timeline,
            self._target,
            collect_samples(sampler, self._target),
            run_id=self._run_id or self._started_at.strftime("%Y%m%d_%H%M%S"),
            started_at=self._started_at.isoformat(timespec="milliseconds"),
            host_start_ns=self._started_ns,
            host_end_ns=ended_ns,
            metadata=self._metadata,
            sampling_reason=self._sampling_reason,
        )
        return self.result

    def begin_batch(self, index: int | None = None) -> _core.Batch:
        """Begins a batch; `index` counts on by itself if it is not given.

        Raises:
            RuntimeError: no run is going on.
        """
        timeline = self._running()
        with self._numbering:
            if index is None:
                index = self._next_index
            self._next_index = index + 1
        batch = self._latest[threading.get_ident()] = timeline.begin_batch(index)
        return batch

    def batches(self, iterable: Iterable[Item], stage: str | None = "fetch") -> Iterator[Item]:
        """Yields the items of `iterable`, each as a batch of its own, and times the wait for it as `stage`.

        The batch ends when the next item is asked for, or when the loop is left. The wait that finds no more items is
        not a batch.
        """
        iterator = iter(iterable)
        wait_stage = stage if stage in self._stages else None
        while True:
            batch = self.begin_batch()
            if wait_stage is not None:
                batch.mark(wait_stage)
            try:
                item = next(iterator)
            except StopIteration:
                self._discard(batch)
                return
            except BaseException:
                self._discard(batch)
                raise
            batch.end_stage()
            try:
                yield item
            finally:
                batch.end()

    def stage(self, name: str) -> _core.Stage:
        """A stage of the batch that began last in this thread, as a context manager.

        Raises:
            RuntimeError: no batch has begun.
            ValueError: this profiler has no such stage.
        """
        batch = self.current_batch
        if batch is None:
            raise RuntimeError(f"stage {name!r} needs a batch: loop over profiler.batches(...) or call begin_batch()")
        return batch.stage(name)

    def __enter__(self) -> BatchProfiler:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timeline is not None:  # the body may have stopped it already
            self.stop()

    def __call__(self, function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
        """Makes each call of `function` a run; its result is in :attr:`result`."""

        @functools.wraps(function)
        def profiled(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
            with self:
                return function(*args, **kwargs)

        return profiled

    def _running(self) -> _core.Timeline:
        if self._timeline is None:
            raise RuntimeError("this BatchProfiler is not running: use it in a with statement, or call start()")
        return self._timeline

    def _discard(self, batch: _core.Batch) -> None:
        batch.discard()
        if self.current_batch is batch:  # the iterable may have begun batches of its own
            del self._latest[threading.get_ident()]
        with self._numbering:
            if self._next_index == batch.index + 1:  # nor may another thread have gone on counting
                self._next_index = batch.index

    def _turn_off(self, timeline: _core.Timeline, timeout_s: float) -> None:
        """Ends all that :meth:`start` began, each part also if an interrupt (Ctrl-C) came during another's end."""
        self._timeline = None
        self._latest.clear()
        with ExitStack() as last_to_first:
            last_to_first.callback(self._end_capture_range)
            last_to_first.callback(self._end_phase)
            last_to_first.callback(self._stop_sampling)
            last_to_first.callback(timeline.stop, timeout_s)

    def _end_capture_range(self) -> None:
        capture_range, self._range = self._range, None
        try:
            if capture_range is not None:
                capture_range.end()
        except VirnucError as error:  # the device is lost, and what was measured until then must not be
            _log.warning("the capture range stays open: %s", error)

    def _end_phase(self) -> None:
        phase, self._phase = self._phase, None
        if phase is not None:
            nvtx.end_range(phase)

    def _stop_sampling(self) -> None:
        sampler, self._sampler = self._sampler, None
        if sampler is not None:
            sampler.stop()

    def _start_sampling(self) -> str:
        """Starts the NVML threads; returns why not, if not."""
        if not self._sample_gpu:
            return "sampling was turned off"
        if self._target.uuid is None:
            return self._target.reason or "the run is on the CPU"
        try:
            self._sampler = _core.GpuSampler(self._target.uuid)
            self._sampler.start()
        except LibraryUnavailable as error:
            self._sampler = None
            return str(error)
        return ""
