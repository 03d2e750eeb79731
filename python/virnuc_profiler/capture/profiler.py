# SPDX-License-Identifier: MIT
"""Profile a loop over batches."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar

import nvtx

from virnuc_profiler import _core
from virnuc_profiler.capture.assemble import assemble_run, collect_samples
from virnuc_profiler.capture.host_watch import HostWatch
from virnuc_profiler.capture.sampling.live_reading import sampling_began, sampling_ended
from virnuc_profiler.capture.start_up.preparation import begin_run, preparing, start_up_record
from virnuc_profiler.capture.target import Target, current_stream, resolve_target
from virnuc_profiler.errors import LibraryUnavailable, VirnucError, first_line
from virnuc_profiler.telemetry.parts.start_up_records import STARTING_LOADER
from virnuc_profiler.telemetry.records import STAGES
from virnuc_profiler.telemetry.run_result import RunResult

NVTX_DOMAIN: Final = "virnuc_profiler"

_log = logging.getLogger(__name__)

_HOST_STAGES = frozenset({"fetch", "collate", "emit"})

Item = TypeVar("Item")
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


class BatchProfiler:
    """Times every batch of a loop on the host and on the device, and samples the GPU.

    Use it as a context manager::

        with BatchProfiler() as profiler:
            for batch in profiler.batches(loader):
                with profiler.stage("forward"):
                    model(batch)
        profiler.result.save("run.json")

    As a decorator, it makes each call of the function a run. :meth:`start`, :meth:`begin_batch` and :meth:`stop`
    control a run by hand. On hot paths, ``batch.mark(stage)`` on the batch that :meth:`begin_batch` returns ends the
    current stage and starts the next with one shared device event. Several batches may be open at a time, and each
    thread may have its own.

    A run that an exception ends keeps its batches, and its metadata name the failure.

    The profiler never synchronizes the device during a run. Without a GPU it takes host times only, and
    ``result.device.reason`` gives the reason.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, a CUDA ordinal, or a ``torch.device``.
        stages: Names of the stages, in the order in which reports show them.
        device_stages: Names of the stages that get a device interval. By default, all except fetch, collate and emit.
        nvtx_ranges: Whether each stage is an NVTX range in the domain ``virnuc_profiler``.
        sample_gpu: Whether to sample the GPU through NVML.
        stream: ``CUstream`` handle of the stream to time. By default, PyTorch's current stream when the run starts.
        capture_range: Whether to call cudaProfilerStart and cudaProfilerStop around the run, for tools that capture
            only this range (``nsys --capture-range=cudaProfilerApi``, ``ncu --profile-from-start off``).
        run_id: Name of the run. By default, its start time.
        metadata: JSON-serializable values to keep with the result.

    Raises:
        UsageError: `device` names no device, or one that this process does not see.
        LibraryUnavailable: A GPU was requested, and the CUDA driver cannot be used.
        ValueError: `stages` is empty or has duplicates, or a device stage is not one of `stages`.
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
        self._host: HostWatch | None = None
        self._phase: Any = None
        self._latest: dict[int, _core.Batch] = {}  # batch that began last, by thread
        self._index_lock = threading.Lock()
        self._next_index = 0
        self._result: RunResult | None = None
        # Invalid stages fail here, where the caller names them, and not when the run starts.
        _core.Timeline(self._stages, self._device_stages, nvtx=False).stop(0.0)

    @property
    def device_name(self) -> str:
        """Name of the measured device; ``cpu`` without a GPU."""
        return self._target.name

    @property
    def has_result(self) -> bool:
        """Whether a run has finished since the last start, so that :attr:`result` can be read."""
        return self._result is not None

    @property
    def result(self) -> RunResult:
        """The result of the last run.

        Raises:
            RuntimeError: No run has finished since the last start.
        """
        if self._result is None:
            state = "is still running" if self._timeline is not None else "has not finished a run"
            raise RuntimeError(f"this BatchProfiler {state}: read `result` after the `with` block, or after stop()")
        return self._result

    @property
    def current_batch(self) -> _core.Batch:
        """The batch that began last in this thread.

        Raises:
            RuntimeError: No batch has begun in this thread.
        """
        batch = self._latest.get(threading.get_ident())
        if batch is None:
            raise RuntimeError(
                "no batch has begun in this thread: loop over profiler.batches(...), or call begin_batch() first"
            )
        return batch

    def start(self) -> None:
        """Start a run.

        Raises:
            RuntimeError: A run of this profiler is in progress.
            CudaError: The device cannot be used.
        """
        if self._timeline is not None:
            raise RuntimeError("this BatchProfiler is running: call stop() first, or use another one for a nested run")
        ordinal = self._target.ordinal
        stream = self._stream
        if stream is None:
            stream = 0 if ordinal is None else current_stream(ordinal)
        self._result = None
        self._started_at = datetime.now(timezone.utc)
        self._next_index = 0
        timeline = _core.Timeline(
            self._stages, self._device_stages, device=ordinal, stream=stream, nvtx=self._nvtx_ranges
        )
        try:
            self._host = HostWatch()
            self._sampling_reason = self._start_sampling()
            if self._capture_range and ordinal is not None:
                self._range = _core.CaptureRange(ordinal)
            if self._nvtx_ranges:
                # Python's nvtx package marks the run; the compiled core marks the stages inside it.
                self._phase = nvtx.start_range("run", domain=NVTX_DOMAIN)
            self._started_ns = _core.monotonic_ns()
            self._first_run = begin_run()
            self._timeline = timeline
        except BaseException:
            self._turn_off(timeline, timeout_s=0.0)
            raise

    def stop(self) -> RunResult:
        """End the run and return its result.

        Ends the last batch of each thread if it is still open, and waits up to ten seconds for outstanding device
        times.

        Raises:
            RuntimeError: No run is in progress.
        """
        timeline = self._running()
        for batch in list(self._latest.values()):
            batch.end()
        ended_ns = _core.monotonic_ns()
        sampler, host = self._sampler, self._host
        self._turn_off(timeline, timeout_s=10.0)
        self._result = assemble_run(
            timeline,
            self._target,
            collect_samples(sampler, self._target),
            run_id=self._run_id or self._started_at.strftime("%Y%m%d_%H%M%S"),
            started_at=self._started_at.isoformat(timespec="milliseconds"),
            host_start_ns=self._started_ns,
            host_end_ns=ended_ns,
            metadata=self._metadata,
            sampling_reason=self._sampling_reason,
            host=host,
            start_up=start_up_record(first_run=self._first_run, run_start_ns=self._started_ns, run_end_ns=ended_ns),
        )
        return self._result

    def stopped_ns(self) -> int:
        """Return for how long this process, or one that it has started, was stopped since the run began.

        Time limits of a loop should not count this time. It is 0 while no run is in progress.
        """
        return 0 if self._host is None else self._host.stopped_ns()

    def begin_batch(self, index: int | None = None) -> _core.Batch:
        """Begin a batch in this thread.

        Args:
            index: Number of the batch. By default, one more than that of the batch before.

        Raises:
            RuntimeError: No run is in progress.
        """
        timeline = self._running()
        with self._index_lock:
            if index is None:
                index = self._next_index
            self._next_index = index + 1
        batch = self._latest[threading.get_ident()] = timeline.begin_batch(index)
        return batch

    def batches(self, iterable: Iterable[Item], stage: str | None = "fetch") -> Iterator[Item]:
        """Yield each item of `iterable` as a batch, and time the wait for the item.

        A batch ends when the loop requests the next item or exits. The final wait, which finds no item, is not a batch.

        Args:
            iterable: Source of the items, such as a DataLoader.
            stage: Stage that times the wait. None, or a stage that this profiler lacks, leaves the wait untimed.
        """
        with preparing(STARTING_LOADER):  # a DataLoader starts its workers here
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

    def preparing(self, name: str) -> AbstractContextManager[None]:
        """Return a context manager around work that prepares the run, so that the diagnosis of its start-up names it.

        It may be used before the run starts, too, such as around loading the model.

        Args:
            name: Name of the work.
        """
        return preparing(name)

    def stage(self, name: str) -> _core.Stage:
        """Return a context manager that times a stage of the batch that began last in this thread.

        Args:
            name: Name of the stage, one of `stages`.

        Raises:
            RuntimeError: No batch has begun in this thread.
            ValueError: This profiler has no such stage.
        """
        return self.current_batch.stage(name)

    def __enter__(self) -> BatchProfiler:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timeline is not None:  # the body may have called stop() already
            run = self.stop()
            if error is not None and not isinstance(error, GeneratorExit):  # which ends a loop that was closed early
                failure = {"reason": "error", "message": f"{type(error).__name__}: {first_line(error)}"}
                self._result = replace(run, metadata={"status": "failed", "failure": failure, **run.metadata})

    def __call__(self, function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
        """Make each call of `function` a run, whose result is in :attr:`result`."""

        @functools.wraps(function)
        def profiled(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
            with self:
                return function(*args, **kwargs)

        return profiled

    def _running(self) -> _core.Timeline:
        if self._timeline is None:
            raise RuntimeError("this BatchProfiler is not running: use it in a `with` statement, or call start()")
        return self._timeline

    def _discard(self, batch: _core.Batch) -> None:
        batch.discard()
        if self._latest.get(threading.get_ident()) is batch:  # unless the iterable has begun another batch
            del self._latest[threading.get_ident()]
        with self._index_lock:
            if self._next_index == batch.index + 1:  # unless another thread has begun the next batch
                self._next_index = batch.index

    def _turn_off(self, timeline: _core.Timeline, timeout_s: float) -> None:
        """End everything that :meth:`start` began, even if an interrupt (Ctrl-C) arrives meanwhile.

        Args:
            timeline: Timeline of the run.
            timeout_s: Longest wait for outstanding device times, in seconds.
        """
        self._timeline = None
        self._latest.clear()
        with ExitStack() as stack:  # runs every callback, the last one first, even if one of them raises
            stack.callback(self._end_capture_range)
            stack.callback(self._end_phase)
            stack.callback(self._stop_sampling)
            stack.callback(timeline.stop, timeout_s)
            stack.callback(self._stop_watching)  # first, so that a stop during the waits above is not the run's

    def _end_capture_range(self) -> None:
        capture_range, self._range = self._range, None
        try:
            if capture_range is not None:
                capture_range.end()
        except VirnucError as error:  # the device is lost; keep what was measured before
            _log.warning("cudaProfilerStop failed, so the capture range stays open: %s", error)

    def _end_phase(self) -> None:
        phase, self._phase = self._phase, None
        if phase is not None:
            nvtx.end_range(phase)

    def _stop_sampling(self) -> None:
        sampler, self._sampler = self._sampler, None
        if sampler is not None:
            sampling_ended(sampler)
            sampler.stop()

    def _stop_watching(self) -> None:
        host, self._host = self._host, None
        if host is not None:
            host.stop()

    def _start_sampling(self) -> str:
        """Start the NVML threads; return the reason if they cannot start, else an empty string."""
        if not self._sample_gpu:
            return "sampling was turned off"
        if self._target.uuid is None:
            return self._target.reason or "the run is on the CPU"
        try:
            self._sampler = _core.GpuSampler(self._target.uuid)
            self._sampler.start()
            sampling_began(self._sampler)
        except LibraryUnavailable as error:
            self._sampler = None
            return str(error)
        return ""
