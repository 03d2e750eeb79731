# SPDX-License-Identifier: MIT
"""Runs a model over packed batches; the next one is queued on the device before the last one is waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from torch import Tensor

from virnuc_profiler.errors import DeadlineExceeded
from virnuc_profiler.inference.batch_marks import BatchMarks, NoMarks
from virnuc_profiler.inference.batches import InferenceResult, PackedBatch
from virnuc_profiler.inference.launch import Launched, launcher_for
from virnuc_profiler.inference.placement import resolve_device

if TYPE_CHECKING:
    from virnuc_profiler.capture.profiler import BatchProfiler

_END: Final = object()


@dataclass(frozen=True, slots=True)
class _Flight:
    """A batch between its launch and the hand-over of its results."""

    batch_idx: int
    launched: Launched
    marks: BatchMarks


class AsyncInferenceRunner:
    """Runs a model over a loader's batches and hands out one embedding per sequence.

    On a GPU up to `in_flight` batches are queued before the oldest is waited for, by an event and not by a
    synchronisation of the device, so that the GPU has work while the host fetches, packs and hands over. On the CPU
    batches simply follow each other.

    With a profiler a batch is recorded if, and only if, its results were handed over: the sums over the records are
    those over the results, also when a run ends early.

    Args:
        model: a ``PackedESM2``, or what can be called like one.
        device: where the model is.
        profiler: records each batch; it must be running while :meth:`run` is.
        in_flight: batches queued on a GPU, at least 1; two are enough to keep it busy.
        deadline_ns: time on the monotonic clock after which no further batch is begun.

    Raises:
        UsageError: the device is not there.
        ValueError: `in_flight` is below 1, or the model is on another device.
    """

    def __init__(
        self,
        model: Callable[..., Tensor],
        device: Any,
        *,
        profiler: BatchProfiler | None = None,
        in_flight: int = 2,
        deadline_ns: int | None = None,
    ) -> None:
        if in_flight < 1:
            raise ValueError(f"in_flight must be at least 1, not {in_flight}")
        found = resolve_device(device)
        model_device = getattr(model, "device", found)
        if model_device != found:
            raise ValueError(f"the model is on {model_device}, not on {found}: load it there, or run it where it is")
        self._launch = launcher_for(model, found)
        self._in_flight = in_flight if found.type == "cuda" else 1
        self._profiler = profiler
        self._deadline_ns = deadline_ns
        self._runs: WeakSet[Generator[InferenceResult, None, None]] = WeakSet()
        self._closed = False

    def run(self, dataloader: Iterable[PackedBatch]) -> Iterator[InferenceResult]:
        """Yields the results of each batch, in the loader's order.

        If the loader, the model or the deadline ends the run early, results that are already on their way are handed
        over before the error is raised. Closing the iterator, or the runner, drops them.

        Args:
            dataloader: any iterable of PackedBatch; it is asked for a batch only when there is room for it.

        Raises:
            TypeError: `dataloader` is not an iterable, or gives something else than a PackedBatch.
            DeadlineExceeded: the deadline has passed.
            ValueError: the runner is closed.
        """
        if self._closed:
            raise ValueError("this AsyncInferenceRunner is closed: make a new one")
        run = self._run(iter(dataloader))
        self._runs.add(run)
        return run

    def close(self) -> None:
        """Ends what is running and lets go of its batches. A second call does nothing."""
        self._closed = True
        for run in list(self._runs):
            run.close()

    def __enter__(self) -> AsyncInferenceRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, source: Iterator[PackedBatch]) -> Generator[InferenceResult, None, None]:
        started_ns = monotonic_ns()
        flights: deque[_Flight] = deque()
        try:
            batch_idx = 0
            while self._launch_next(source, batch_idx, flights, started_ns):
                batch_idx += 1
                if len(flights) == self._in_flight:
                    yield from _hand_over(flights.popleft())
            while flights:
                yield from _hand_over(flights.popleft())
        except Exception:
            while flights:
                yield from _hand_over(flights.popleft())
            raise
        finally:
            while flights:
                flights.popleft().marks.discard()

    def _launch_next(
        self, source: Iterator[PackedBatch], batch_idx: int, flights: deque[_Flight], started_ns: int
    ) -> bool:
        """Fetches the next batch and launches it; returns False if there is none."""
        self._check_deadline(started_ns)
        marks: BatchMarks = NoMarks() if self._profiler is None else self._profiler.begin_batch()
        try:
            marks.mark("fetch")
            packed = next(source, _END)
            marks.end_stage()
            if packed is _END:
                marks.discard()
                return False
            if not isinstance(packed, PackedBatch):
                raise TypeError(
                    "AsyncInferenceRunner needs batches of type PackedBatch, as VarlenCollator makes them; "
                    f"the loader gave one of type {type(packed).__name__}"
                )
            marks.record_interval("collate", packed.collate_start_ns, packed.collate_end_ns)
            marks.set_packing(packed.statistics)
            flights.append(_Flight(batch_idx, self._launch(packed, marks), marks))
        except BaseException:
            marks.discard()
            raise
        return True

    def _check_deadline(self, started_ns: int) -> None:
        if self._deadline_ns is not None and monotonic_ns() >= self._deadline_ns:
            limit_s = max(0, self._deadline_ns - started_ns) / 1e9
            raise DeadlineExceeded(
                f"inference did not end within its limit of {limit_s:.1f} s: allow more time, or fewer sequences"
            )


def _hand_over(flight: _Flight) -> Generator[InferenceResult, None, None]:
    """Waits for a batch and yields its results; its stage "emit" lasts until the consumer asks for more."""
    try:
        embeddings = flight.launched.wait()
        flight.marks.mark("emit")
    except BaseException:
        flight.marks.discard()
        raise
    packed = flight.launched.packed
    try:
        yield InferenceResult(packed.sequence_ids, embeddings, flight.batch_idx, packed.positions)
    finally:
        flight.marks.end()
