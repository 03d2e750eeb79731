# SPDX-License-Identifier: MIT
"""Run a model over packed batches, queueing the next batch on the device before waiting for the last one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from time import monotonic_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from torch import Tensor

from virnuc_profiler.errors import DeadlineExceeded
from virnuc_profiler.inference.batches import InferenceResult, PackedBatch
from virnuc_profiler.inference.esm2.precision_check import MIN_COSINE, PrecisionReport, make_precision_check
from virnuc_profiler.inference.execution.launcher import Launch, LaunchedBatch, make_launcher
from virnuc_profiler.inference.finiteness import REACTIONS, REPORT, check_finite
from virnuc_profiler.inference.input_order import InputOrder
from virnuc_profiler.inference.marks import BatchMarks, NoMarks
from virnuc_profiler.inference.placement import resolve_device

if TYPE_CHECKING:
    from virnuc_profiler.capture.profiler import BatchProfiler

_END: Final = object()


@dataclass(frozen=True, slots=True)
class _Flight:
    """A batch between its launch and the delivery of its results."""

    batch_idx: int
    launched: LaunchedBatch
    marks: BatchMarks

    def drop(self) -> None:
        """Drop the batch and its record."""
        self.launched.drop()
        self.marks.discard()


class AsyncInferenceRunner:
    """Run a model over a loader's batches and yield one embedding per sequence.

    On a GPU, up to `in_flight` batches are queued before the host waits for the oldest one, by an event instead of a
    device synchronization, so that the GPU has work while the host fetches, packs and delivers. Forward and pooling run
    on the stream that is current when results are requested; the copies to and from the device run on two more streams.
    On the CPU, batches run one after the other.

    With a profiler, a batch is recorded if and only if its results were delivered, so that totals over the records
    match totals over the results even if a run ends early.

    Args:
        model: A ``PackedESM2``, or a callable with the same arguments.
        device: Device that holds the model.
        profiler: Profiler that records each batch; it must be running during :meth:`run`.
        in_flight: Number of batches queued on a GPU, at least 1. With the default, the GPU stays busy while the host is
            late by three batches.
        deadline_ns: Time on the monotonic clock after which no further batch is started; None for no limit. With a
            profiler, it is later by the time in which the run was stopped, e.g. by SIGSTOP.
        on_non_finite: Reaction to embeddings that contain NaN or infinity: ``report`` names them in a warning and in
            the result, ``raise`` ends the run. They are checked on the host after the copy.
        min_cosine: Smallest accepted cosine similarity of an FP8 model's vectors to those in bf16 and in fp32, checked
            with the first sequences of each run; None skips the check.

    Attributes:
        precision: Report of the FP8 check in the latest run; None if there was no check.

    Raises:
        UsageError: The device is not available.
        ValueError: `in_flight` is below 1, `on_non_finite` is unknown, or the model is on another device.
    """

    def __init__(
        self,
        model: Callable[..., Tensor],
        device: Any,
        *,
        profiler: BatchProfiler | None = None,
        in_flight: int = 4,
        deadline_ns: int | None = None,
        on_non_finite: str = REPORT,
        min_cosine: float | None = MIN_COSINE,
    ) -> None:
        if in_flight < 1:
            raise ValueError(f"in_flight must be at least 1, not {in_flight}")
        if on_non_finite not in REACTIONS:
            raise ValueError(f"on_non_finite is {on_non_finite!r}, must be one of {', '.join(REACTIONS)}")
        found = resolve_device(device)
        model_device = getattr(model, "device", found)
        if model_device != found:
            raise ValueError(f"the model is on {model_device}, not on {found}: name the model's device, or move it")
        self.precision: PrecisionReport | None = None
        self._check_precision = make_precision_check(model, min_cosine)
        self._release_model_memory: Callable[[], None] = getattr(model, "release_memory", lambda: None)
        self._launch: Launch | None = make_launcher(model, found)
        self._in_flight = in_flight if found.type == "cuda" else 1
        self._profiler = profiler
        self._deadline_ns = deadline_ns
        self._on_non_finite = on_non_finite
        self._runs: WeakSet[Generator[InferenceResult, None, None]] = WeakSet()

    def run(self, dataloader: Iterable[PackedBatch], *, in_order: bool = False) -> Iterator[InferenceResult]:
        """Yield the results of each batch in the loader's order, or regrouped in the order of the input.

        The input order is the order in which the dataset reads its sequences; a dataset with indices reads them in the
        order of the indices. Packing mixes that order within bounds, so the results held back are a few times the
        collator's buffer. In input order, groups have any size, are numbered by ``batch_idx``, and often a batch
        completes no group; with a profiler, a batch is recorded once its results were taken in. Batches made by hand,
        without ``arrivals``, are ordered by position, and sequences with a gap before them come at the end.

        If the loader, the model or the deadline ends the run early, results in flight and results held back are
        delivered before the error is raised. If the results of a batch fail to arrive, or are not finite with
        ``on_non_finite="raise"``, nothing after that batch is delivered. Closing the iterator or the runner drops all
        batches in flight.

        Args:
            dataloader: Iterable of PackedBatch; it is asked for a batch only when one can be launched.
            in_order: Whether to yield sequences in input order, each exactly once.

        Raises:
            TypeError: `dataloader` is not iterable, or yields something other than a PackedBatch.
            DeadlineExceeded: The deadline has passed.
            PrecisionError: The vectors of the first sequences fall below `min_cosine`.
            NonFiniteError: Embeddings contain NaN or infinity, and `on_non_finite` is ``raise``.
            ValueError: The runner is closed, or a sequence came twice with `in_order`.
        """
        if self._launch is None:
            raise ValueError("this AsyncInferenceRunner is closed: make a new one")
        run = self._run(iter(dataloader), self._launch, InputOrder() if in_order else None)
        self._runs.add(run)
        return run

    def close(self) -> None:
        """End the running iterations and release their batches and all device memory except the model's weights."""
        self._launch = self._check_precision = None
        for run in list(self._runs):
            run.close()
        self._release_model_memory()

    def __enter__(self) -> AsyncInferenceRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(
        self, source: Iterator[PackedBatch], launch: Launch, order: InputOrder | None
    ) -> Generator[InferenceResult, None, None]:
        flights: deque[_Flight] = deque()
        held_back: Iterable[InferenceResult] = () if order is None else order.rest()  # evaluated when iterated
        try:
            yield from self._batches(source, launch, order, flights)
        except Exception:
            yield from held_back
            raise
        else:
            yield from held_back
        finally:
            while flights:
                flights.popleft().drop()

    def _batches(
        self, source: Iterator[PackedBatch], launch: Launch, order: InputOrder | None, flights: deque[_Flight]
    ) -> Iterator[InferenceResult]:
        started_ns = monotonic_ns()
        for batch_idx in count():
            try:
                flight = self._launch_next(source, launch, batch_idx, started_ns)
            except Exception:
                while flights:
                    yield from self._deliver(flights.popleft(), order)
                raise
            if flight is None:
                break
            flights.append(flight)
            del flight  # otherwise this name would keep the batch alive while the next one is launched
            if len(flights) == self._in_flight:
                yield from self._deliver(flights.popleft(), order)
        while flights:
            yield from self._deliver(flights.popleft(), order)

    def _has_passed(self, deadline_ns: int) -> bool:
        now_ns = monotonic_ns()
        if now_ns < deadline_ns:
            return False
        return self._profiler is None or now_ns - self._profiler.stopped_ns() >= deadline_ns

    def _launch_next(
        self, source: Iterator[PackedBatch], launch: Launch, batch_idx: int, started_ns: int
    ) -> _Flight | None:
        """Fetch the next batch and launch it; return None if there is none."""
        if self._deadline_ns is not None and self._has_passed(self._deadline_ns):
            limit_s = max(0, self._deadline_ns - started_ns) / 1e9
            raise DeadlineExceeded(
                f"inference did not end within its limit of {limit_s:.1f} s: allow more time, or fewer sequences"
            )
        marks: BatchMarks = NoMarks() if self._profiler is None else self._profiler.begin_batch()
        try:
            marks.mark("fetch")
            packed = next(source, _END)
            marks.end_stage()
            if packed is _END:
                marks.discard()
                return None
            if not isinstance(packed, PackedBatch):
                raise TypeError(
                    "AsyncInferenceRunner needs batches of type PackedBatch, as VarlenCollator makes them; "
                    f"the loader yielded one of type {type(packed).__name__}"
                )
            if batch_idx == 0 and self._check_precision is not None:
                self.precision = self._check_precision(packed)
            marks.record_interval("collate", packed.collate_start_ns, packed.collate_end_ns)
            marks.set_packing(packed.statistics)
            return _Flight(batch_idx, launch(packed, marks), marks)
        except BaseException:
            marks.discard()
            raise

    def _deliver(self, flight: _Flight, order: InputOrder | None) -> Iterator[InferenceResult]:
        """Wait for a batch and yield its results; its stage "emit" lasts until the consumer asks for more."""
        packed = flight.launched.packed
        try:
            embeddings = flight.launched.wait()
            flight.marks.mark("emit")
            non_finite = check_finite(embeddings, packed.sequence_ids, flight.batch_idx, self._on_non_finite)
        except BaseException:
            flight.marks.discard()
            raise
        result = InferenceResult(packed.sequence_ids, embeddings, flight.batch_idx, packed.positions, non_finite)
        try:
            if order is None:
                yield result
            else:
                yield from order.add(result, packed.positions if packed.arrivals is None else packed.arrivals)
        finally:
            flight.marks.end()
