# SPDX-License-Identifier: MIT
"""Runs a model over packed batches; the next one is queued on the device before the last one is waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from time import monotonic_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from virnuc_profiler.errors import DeadlineExceeded
from virnuc_profiler.inference.batches import InferenceResult, PackedBatch
from virnuc_profiler.inference.esm2.precision_check import MIN_COSINE, PrecisionReport, precision_check
from virnuc_profiler.inference.execution.launcher import Launch, Launched, make_launcher
from virnuc_profiler.inference.finiteness import REACTIONS, REPORT, check_finite
from virnuc_profiler.inference.input_order import InputOrder
from virnuc_profiler.inference.marks import BatchMarks, NoMarks
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

    def drop(self) -> None:
        """Takes the batch back, from the records too."""
        self.launched.abandon()
        self.marks.discard()


class _Order(Protocol):
    """The order in which results are handed out."""

    def add(self, result: InferenceResult, places: NDArray[np.int64], /) -> Iterator[InferenceResult]:
        """Takes in a batch; yields what can be handed out now."""

    def rest(self) -> Iterator[InferenceResult]:
        """Yields what is left."""


class _AsTheyCome:
    """Each batch as it is."""

    def add(self, result: InferenceResult, _places: NDArray[np.int64], /) -> Iterator[InferenceResult]:
        """Yields the batch."""
        yield result

    def rest(self) -> Iterator[InferenceResult]:
        """Yields nothing."""
        yield from ()


class AsyncInferenceRunner:
    """Runs a model over a loader's batches and hands out one embedding per sequence.

    On a GPU up to `in_flight` batches are queued before the oldest is waited for, by an event and not by a
    synchronization of the device, so that the GPU has work while the host fetches, packs and hands over. Forward and
    pooling run on the stream that is current when results are asked for, the copies in and out on two streams beside
    it. On the CPU batches simply follow each other.

    With a profiler a batch is recorded if, and only if, its results were handed over: the sums over the records are
    those over the results, also when a run ends early.

    Args:
        model: a ``PackedESM2``, or what can be called like one.
        device: where the model is.
        profiler: records each batch; it must be running while :meth:`run` is.
        in_flight: batches queued on a GPU, at least 1; with four it stays busy while the host is late by three of them.
        deadline_ns: time on the monotonic clock after which no further batch is begun.
        min_cosine: of a model in FP8, the least cosine similarity of its vectors to those in bf16 and in fp32 that
            is accepted, measured with the first sequences of each run; None for no such check.
        on_non_finite: what happens if embeddings hold NaN or infinity: ``report`` names them in a warning and in the
            result, ``raise`` ends the run. They are looked for on the host, once they have arrived.

    Attributes:
        precision: what that check found in the latest run; None where nothing is in FP8.

    Raises:
        UsageError: the device is not there.
        ValueError: `in_flight` is below 1, `on_non_finite` is neither of the two, or the model is on another device.
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
            raise ValueError(f"the model is on {model_device}, not on {found}: load it there, or run it where it is")
        self.precision: PrecisionReport | None = None
        self._check = precision_check(model, min_cosine)
        self._release_models_memory: Callable[[], None] = getattr(model, "release_memory", lambda: None)
        self._launch: Launch | None = make_launcher(model, found)
        self._in_flight = in_flight if found.type == "cuda" else 1
        self._profiler = profiler
        self._deadline_ns = deadline_ns
        self._on_non_finite = on_non_finite
        self._runs: WeakSet[Generator[InferenceResult, None, None]] = WeakSet()

    def run(self, dataloader: Iterable[PackedBatch], in_order: bool = False) -> Iterator[InferenceResult]:
        """Yields the results of each batch, in the loader's order, or re-grouped in the order of the input.

        The order of the input is that in which the dataset reads its sequences: a dataset made with indices reads them
        in the order of the indices. Packing mixes that order, but not without bounds, so what must be held back until
        its turn is a few times the collator's buffer. What comes out then is groups of any size, numbered by
        ``batch_idx``, often none for a batch. With a profiler, a batch is recorded once it was taken in.
        Batches that are made by hand, and carry no ``arrivals``, are put in the order of their positions; what has no
        predecessor back to position 0 then comes at the end.

        If the loader, the model or the deadline ends the run early, results that are already on their way, and those
        held back, are handed over before the error is raised. If a batch's results do not arrive, or are not finite
        and must be, nothing after that batch is handed over. Closing the iterator, or the runner, drops all of them.

        Args:
            dataloader: any iterable of PackedBatch; it is asked for a batch only when there is room for it.
            in_order: whether sequences come in the order of the input, each exactly once.

        Raises:
            TypeError: `dataloader` is not an iterable, or gives something else than a PackedBatch.
            DeadlineExceeded: the deadline has passed.
            PrecisionError: the first sequences' vectors fall short of `min_cosine`.
            NonFiniteError: embeddings hold NaN or infinity, and `on_non_finite` is ``raise``.
            ValueError: the runner is closed, or a sequence came twice though `in_order` is set.
        """
        if self._launch is None:
            raise ValueError("this AsyncInferenceRunner is closed: make a new one")
        run = self._run(iter(dataloader), self._launch, InputOrder() if in_order else _AsTheyCome())
        self._runs.add(run)
        return run

    def close(self) -> None:
        """Ends what is running and lets go of its batches and device memory, the model's but for the weights too."""
        self._launch = self._check = None
        for run in list(self._runs):
            run.close()
        self._release_models_memory()

    def __enter__(self) -> AsyncInferenceRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(
        self, source: Iterator[PackedBatch], launch: Launch, order: _Order
    ) -> Generator[InferenceResult, None, None]:
        flights: deque[_Flight] = deque()
        try:
            yield from self._batches(source, launch, order, flights)
        except Exception:
            yield from order.rest()
            raise
        else:
            yield from order.rest()
        finally:
            while flights:
                flights.popleft().drop()

    def _batches(
        self, source: Iterator[PackedBatch], launch: Launch, order: _Order, flights: deque[_Flight]
    ) -> Iterator[InferenceResult]:
        started_ns = monotonic_ns()
        for batch_idx in count():
            try:
                flight = self._launch_next(source, launch, batch_idx, started_ns)
            except Exception:
                while flights:
                    yield from self._hand_over(flights.popleft(), order)
                raise
            if flight is None:
                break
            flights.append(flight)
            del flight  # or the batch would be held while the next is launched
            if len(flights) == self._in_flight:
                yield from self._hand_over(flights.popleft(), order)
        while flights:
            yield from self._hand_over(flights.popleft(), order)

    def _launch_next(
        self, source: Iterator[PackedBatch], launch: Launch, batch_idx: int, started_ns: int
    ) -> _Flight | None:
        """Fetches the next batch and launches it; returns None if there is none."""
        self._check_deadline(started_ns)
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
                    f"the loader gave one of type {type(packed).__name__}"
                )
            if batch_idx == 0 and self._check is not None:
                self.precision = self._check(packed)
            marks.record_interval("collate", packed.collate_start_ns, packed.collate_end_ns)
            marks.set_packing(packed.statistics)
            return _Flight(batch_idx, launch(packed, marks), marks)
        except BaseException:
            marks.discard()
            raise

    def _check_deadline(self, started_ns: int) -> None:
        if self._deadline_ns is not None and monotonic_ns() >= self._deadline_ns:
            limit_s = max(0, self._deadline_ns - started_ns) / 1e9
            raise DeadlineExceeded(
                f"inference did not end within its limit of {limit_s:.1f} s: allow more time, or fewer sequences"
            )

    def _hand_over(self, flight: _Flight, order: _Order) -> Iterator[InferenceResult]:
        """Waits for a batch and yields its results; its stage "emit" lasts until the consumer asks for more."""
        packed = flight.launched.packed
        try:
            embeddings = flight.launched.wait()
            flight.marks.mark("emit")
            non_finite = check_finite(embeddings, packed.sequence_ids, flight.batch_idx, self._on_non_finite)
        except BaseException:
            flight.marks.discard()
            raise
        places = packed.positions if packed.arrivals is None else packed.arrivals
        try:
            yield from order.add(
                InferenceResult(packed.sequence_ids, embeddings, flight.batch_idx, packed.positions, non_finite), places
            )
        finally:
            flight.marks.end()
