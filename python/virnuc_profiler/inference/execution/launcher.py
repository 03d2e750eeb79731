# SPDX-License-Identifier: MIT
"""Launch a batch on a device: copy in, forward, pooling, copy out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from virnuc_profiler.inference.batches import PackedBatch, packed_views
from virnuc_profiler.inference.execution.output_buffers import TimestampedOutput
from virnuc_profiler.inference.execution.slots import Slot, Slots
from virnuc_profiler.inference.execution.stage_marks import StageMarks
from virnuc_profiler.inference.execution.streams import OnStream
from virnuc_profiler.inference.marks import BatchMarks, ForwardMarks
from virnuc_profiler.inference.ops.pooling import mean_pool


class LaunchedBatch(Protocol):
    """A batch in flight on the device. Exactly one of `wait` and `drop` is called, once."""

    @property
    def packed(self) -> PackedBatch:
        """The batch, whose pinned memory must live until the device has read it."""

    def wait(self) -> Tensor:
        """Wait for this batch only; return its (B, h) float32 embeddings in memory that the caller owns.

        The embeddings are copied, because callers may keep them and pinned memory is scarce.
        """

    def drop(self) -> None:
        """Give up the batch without waiting for it. Never raises."""


Launch = Callable[[PackedBatch, BatchMarks], LaunchedBatch]


Embed = Callable[[Tensor, Tensor, int, Tensor | None, ForwardMarks], Tensor]
"""Signature of `PackedESM2.embed_sequences`."""


def embedding_function(model: Callable[..., Tensor]) -> Embed:
    """Return the function that computes one vector per sequence: the model's own, or its per-token output pooled.

    Args:
        model: A ``PackedESM2``, or a callable that returns one vector per token.
    """
    own: Embed | None = getattr(model, "embed_sequences", None)
    if own is not None:
        return own

    def call_and_pool(
        tokens: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        host_cu_seqlens: Tensor | None,
        marks: ForwardMarks,
    ) -> Tensor:
        on_host = () if host_cu_seqlens is None else (host_cu_seqlens,)
        marks.begin_forward()
        hidden = model(tokens, cu_seqlens, max_seqlen, *on_host)
        if not isinstance(hidden, Tensor) or hidden.dim() != 2 or len(hidden) < len(tokens):
            # Without this check, pooling would read out of bounds.
            found = f"a tensor {tuple(hidden.shape)}" if isinstance(hidden, Tensor) else f"a {type(hidden).__name__}"
            raise ValueError(
                f"the model returned {found} for a pack of {len(tokens)} tokens: "
                "it must return a tensor (T, h) with one vector per token"
            )
        marks.begin_pooling()
        output = marks.output_buffer(len(cu_seqlens) - 1, hidden.shape[1])
        return mean_pool(hidden, cu_seqlens, out=None if output is None else output.vectors)

    return call_and_pool


def make_launcher(model: Callable[..., Tensor], device: torch.device) -> Launch:
    """Return the function that puts a batch through `model` on `device`."""
    return CudaLauncher(model, device) if device.type == "cuda" else CpuLauncher(model)


@dataclass(frozen=True, slots=True)
class ComputedBatch:
    """A batch that the CPU has computed."""

    packed: PackedBatch
    embeddings: Tensor

    def wait(self) -> Tensor:
        """Return the embeddings."""
        return self.embeddings.clone()  # outside inference mode, so that the caller gets an ordinary tensor

    def drop(self) -> None:
        """No-op."""


class CpuLauncher:
    """Compute a batch at once. The copies are empty stages, so that CPU and GPU records have the same form."""

    def __init__(self, model: Callable[..., Tensor]) -> None:
        self._embed = embedding_function(model)

    @torch.inference_mode()
    def __call__(self, packed: PackedBatch, marks: BatchMarks) -> LaunchedBatch:
        """Compute the batch and return it.

        Args:
            packed: The batch.
            marks: Receiver of its stages.
        """
        marks.mark("h2d")
        stages = StageMarks(marks, None)
        pooled = self._embed(packed.tokens, packed.cu_seqlens, packed.max_seqlen, None, stages)
        marks.mark("d2h")
        marks.end_stage()
        return ComputedBatch(packed, pooled)


@dataclass(frozen=True, slots=True)
class QueuedBatch:
    """A `LaunchedBatch` that a GPU works on.

    Attributes:
        packed: The batch.
        embeddings: (B, h) float32 in pinned host memory, valid after the slot's `done`.
        slot: Slot of the batch until it is waited for or dropped.
        slots: Owner of the slot.
        compute: Stream that computes.
        marks: Receiver of the batch's stages.
        timestamped: Host memory with the pass's device timestamps; None if none were requested.
    """

    packed: PackedBatch
    embeddings: Tensor
    slot: Slot
    slots: Slots
    compute: torch.cuda.Stream
    marks: BatchMarks
    timestamped: TimestampedOutput | None

    def wait(self) -> Tensor:
        """Sleep until the copy to the host is complete; return the embeddings."""
        try:
            self.slot.done.synchronize()
        except RuntimeError:
            self.slots.leak(self.slot, self.packed)
            raise
        embeddings = self.embeddings.clone()
        times = None if self.timestamped is None else self.slot.output_buffers.times(self.timestamped)
        self.slots.release(self.slot)
        if times is not None:
            self.marks.set_device_timestamps(*times)
        return embeddings

    def drop(self) -> None:
        """Give up the batch; the device finishes it by itself."""
        self.slots.drop_pending(self.slot, self.compute, self.packed)


class CudaLauncher:
    """Queue a batch on three streams and return without waiting for any of them.

    Forward and pooling run on the stream that is current at the call, the copies on streams of their own. So the next
    batch is copied in, and the last one out, while this one computes.
    """

    def __init__(self, model: Callable[..., Tensor], device: torch.device) -> None:
        self._embed = embedding_function(model)
        self._index = device.index  # current_stream(index) is fast, current_stream() is slow
        self._slots = Slots(device)
        self._compute: torch.cuda.Stream | None = None

    @torch.inference_mode()
    def __call__(self, packed: PackedBatch, marks: BatchMarks) -> LaunchedBatch:
        """Queue the batch and return it. After an error, nothing of the batch is kept.

        Args:
            packed: The batch.
            marks: Receiver of its stages.
        """
        with torch.cuda.device(self._index):
            compute = torch.cuda.current_stream(self._index)
            if self._compute is not None and self._compute != compute:
                compute.wait_stream(self._compute)  # models may reuse the same memory in every call
            self._compute = compute
            slot = self._slots.acquire()
            try:
                embeddings, timestamped = self._queue(packed, slot, compute, marks)
            except BaseException:
                self._slots.drop_pending(slot, compute, packed)
                raise
        return QueuedBatch(packed, embeddings, slot, self._slots, compute, marks, timestamped)

    def _queue(
        self, packed: PackedBatch, slot: Slot, compute: torch.cuda.Stream, marks: BatchMarks
    ) -> tuple[Tensor, TimestampedOutput | None]:
        """Queue the batch; return its host embeddings, and its timestamped output if device timestamps were requested.

        Each stream waits before its stage is marked, so that a device interval starts when the work could start.
        """
        copy_in, copy_out = self._slots.copy_in, self._slots.copy_out
        memory, source = slot.pack_input.prepare(packed)
        _copy("h2d", memory, source, copy_in, compute, marks)
        slot.copied.record(copy_in)
        compute.wait_event(slot.copied)

        tokens, cu_seqlens = packed_views(memory, packed.cu_seqlens.shape[0] - 1)
        stages = StageMarks(marks, compute.cuda_stream, slot.output_buffers)
        pooled = self._embed(tokens, cu_seqlens, packed.max_seqlen, packed.cu_seqlens, stages)
        slot.pooled = pooled
        slot.computed.record(compute)
        copy_out.wait_event(slot.computed)

        outputs = stages.outputs
        if outputs is not None and pooled is outputs.device.vectors:
            slot.outputs = outputs
            embeddings = outputs.host.vectors
            _copy("d2h", outputs.host.memory, outputs.device.memory, copy_out, compute, marks)
        else:
            embeddings = slot.embeddings.shaped(*pooled.shape)
            marks.mark("d2h", copy_out.cuda_stream)
            with OnStream(copy_out, compute):
                if stages.timestamped is not None:  # the model changed the vectors after the timestamped pass
                    timestamps = stages.timestamped.host.timestamps
                    timestamps.copy_(stages.timestamped.device.timestamps, non_blocking=True)
                embeddings.copy_(pooled, non_blocking=True)
            marks.end_stage()
        slot.done.record(copy_out)
        return embeddings, None if stages.timestamped is None else stages.timestamped.host


def _copy(
    stage: str,
    target: Tensor,
    source: Tensor,
    stream: torch.cuda.Stream,
    current: torch.cuda.Stream,
    marks: BatchMarks,
) -> None:
    """Queue a copy of contiguous memory on `stream`, as a stage of its own."""
    if marks.copy(stage, stream.cuda_stream, target.data_ptr(), source.data_ptr(), source.nbytes):
        return
    marks.mark(stage, stream.cuda_stream)
    with OnStream(stream, current):
        target.copy_(source, non_blocking=True)
    marks.end_stage()
