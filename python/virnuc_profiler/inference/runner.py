# SPDX-License-Identifier: MIT
"""Runs a model over packed batches, with the next batch queued on the device before the last one is waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import torch
from torch import Tensor

from virnuc_profiler.errors import DeadlineExceeded
from virnuc_profiler.inference.batch_marks import BatchMarks, NoMarks
from virnuc_profiler.inference.batches import InferenceResult, PackedBatch
from virnuc_profiler.inference.placement import resolve_device
from virnuc_profiler.inference.pooling import mean_pool

if TYPE_CHECKING:
    from virnuc_profiler.capture.profiler import BatchProfiler

_END: Final = object()


@dataclass(slots=True)
class _Flight:
    """A batch between its launch and the hand-over of its results.

    Attributes:
        packed: the batch; its pinned memory must live until the device has read it.
        batch_idx: its number.
        embeddings: (B, h) on the host, valid once `done` has come.
        done: comes when the copy to the host is complete; None on the CPU.
        marks: where its stages are recorded.
    """

    packed: PackedBatch
    batch_idx: int
    embeddings: Tensor
    done: torch.cuda.Event | None
    marks: BatchMarks


class AsyncInferenceRunner:
    """Runs a model over a loader's batches and hands out one embedding per sequence.

    On a GPU up to `in_flight` batches are queued before the oldest is waited for, by an event and not by a
    synchronisation of the device, so that the GPU has work while the host fetches, packs and hands over. On the
    CPU batches simply follow each other.

    Every batch whose results were handed over is recorded with the profiler, and no other.

    Args:
        model: a ``PackedESM2``, or whatever is called alike.
        device: where the model is.
        profiler: records each batch; it must be running while :meth:`run` is.
        in_flight: batches queued on the device, at least 1; two are enough to keep it busy.
        deadline_ns: time on the monotonic clock after which no further batch is begun.

    Raises:
        UsageError: the device is not there.
        ValueError: `in_flight` below 1, or the model is on another device.
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
        self._model = model
        self._device = resolve_device(device)
        self._on_gpu = self._device.type == "cuda"
        model_device = getattr(model, "device", self._device)
        if model_device != self._device:
            raise ValueError(f"the model is on {model_device}, not on {self._device}: load it there")
        self._profiler = profiler
        self._in_flight = in_flight if self._on_gpu else 1
        self._deadline_ns = deadline_ns
        self._runs: WeakSet[Generator[InferenceResult, None, None]] = WeakSet()
        self._closed = False

    def run(self, dataloader: Iterable[PackedBatch]) -> Iterator[InferenceResult]:
        """Yields the results of each batch, in the loader's order.

        If the loader, the model or the deadline ends the run early, results that are already on their way are
        handed over before the error is raised.

        Args:
            dataloader: any iterable of PackedBatch; it is asked for the next batch only when there is room.

        Raises:
            TypeError: `dataloader` is not an iterable, or holds something else than PackedBatch.
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
                    yield from self._hand_over(flights.popleft())
            while flights:
                yield from self._hand_over(flights.popleft())
        except Exception:
            while flights:
                yield from self._hand_over(flights.popleft())
            raise
        finally:
            for flight in flights:
                flight.marks.discard()
            flights.clear()

    def _launch_next(
        self, source: Iterator[PackedBatch], batch_idx: int, flights: deque[_Flight], started_ns: int
    ) -> bool:
        """Fetches the next batch and queues it on the device; returns False if there is none."""
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
                    "AsyncInferenceRunner needs PackedBatch items, as create_async_dataloader and VarlenCollator "
                    f"make them; the loader gave {type(packed).__name__}"
                )
            marks.record_interval("collate", packed.collate_start_ns, packed.collate_end_ns)
            marks.set_packing(packed.statistics)
            flights.append(self._launch(packed, batch_idx, marks))
        except BaseException:
            marks.discard()
            raise
        return True

    @torch.inference_mode()
    def _launch(self, packed: PackedBatch, batch_idx: int, marks: BatchMarks) -> _Flight:
        """Queues copy, forward, pooling and copy back. Nothing here waits for the device."""
        if not self._on_gpu:
            marks.mark("h2d")
            marks.mark("forward")
            hidden = self._model(packed.tokens, packed.cu_seqlens, packed.max_seqlen)
            marks.mark("pool")
            pooled = mean_pool(hidden, packed.cu_seqlens)
            marks.mark("d2h")
            marks.end_stage()
            return _Flight(packed, batch_idx, pooled, None, marks)

        with torch.cuda.device(self._device):
            stream = torch.cuda.current_stream().cuda_stream
            marks.mark("h2d", stream)
            tokens, cu_seqlens = self._to_device(packed.tokens), self._to_device(packed.cu_seqlens)
            marks.mark("forward", stream)
            hidden = self._model(tokens, cu_seqlens, packed.max_seqlen, packed.cu_seqlens)
            marks.mark("pool", stream)
            pooled = mean_pool(hidden, cu_seqlens)
            marks.mark("d2h", stream)
            # PyTorch keeps pinned blocks and gives them out again once the device is done with them.
            embeddings = torch.empty(pooled.shape, dtype=pooled.dtype, pin_memory=True)
            embeddings.copy_(pooled, non_blocking=True)
            marks.end_stage()
            # A blocking event sleeps instead of spinning, and leaves the core to the loader's workers.
            done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            done.record()
            return _Flight(packed, batch_idx, embeddings, done, marks)

    def _hand_over(self, flight: _Flight) -> Generator[InferenceResult, None, None]:
        """Waits for a batch and yields its results; "emit" lasts until the consumer asks for more."""
        try:
            if flight.done is not None:
                flight.done.synchronize()
            flight.marks.mark("emit")
            result = InferenceResult(
                sequence_ids=flight.packed.sequence_ids,
                # A copy of the consumer's own: it may keep it for ever, which pinned memory is too scarce for.
                embeddings=flight.embeddings.clone(),
                batch_idx=flight.batch_idx,
                positions=flight.packed.positions,
            )
        except BaseException:
            flight.marks.discard()
            raise
        try:
            yield result
        finally:
            flight.marks.end()

    def _to_device(self, tensor: Tensor) -> Tensor:
        """Copies to the device; from pageable memory the copy could wait for the work before it."""
        pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
        return pinned.to(self._device, non_blocking=True)

    def _check_deadline(self, started_ns: int) -> None:
        if self._deadline_ns is not None and monotonic_ns() >= self._deadline_ns:
            limit_s = max(0.0, (self._deadline_ns - started_ns) / 1e9)
            raise DeadlineExceeded(
                f"inference did not end within its limit of {limit_s:.1f} s: allow more time, or give it less to do"
            )
