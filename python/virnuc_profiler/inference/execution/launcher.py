# SPDX-License-Identifier: MIT
"""One batch on its way through the device: copy in, forward, pooling, copy out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from virnuc_profiler.inference.batches import PackedBatch
from virnuc_profiler.inference.execution.buffers import OnStream
from virnuc_profiler.inference.execution.slots import Slot, Slots
from virnuc_profiler.inference.execution.stage_marks import StageMarks
from virnuc_profiler.inference.execution.vectors import TimestampedOutput
from virnuc_profiler.inference.marks import BatchMarks, PassMarks
from virnuc_profiler.inference.ops.pooling import mean_pool


class Launched(Protocol):
    """A batch that the device is at work on. Of `wait` and `abandon` one is called, once."""

    @property
    def packed(self) -> PackedBatch:
        """The batch; its pinned memory must live until the device has read it."""

    def wait(self) -> Tensor:
        """Waits for this batch and no other; returns its (B, h) float32 embeddings in memory of the caller's own.

        The caller may keep them for ever, and pinned memory is too scarce for that: hence a copy.
        """

    def abandon(self) -> None:
        """Lets go of the batch without waiting for it. Never raises."""


Launch = Callable[[PackedBatch, BatchMarks], Launched]


Embed = Callable[[Tensor, Tensor, int, Tensor | None, PassMarks], Tensor]
"""See `PackedESM2.embed_sequences`."""


def embed_with(model: Callable[..., Tensor]) -> Embed:
    """How `model` makes one vector of each sequence: by itself, or from what it returns for each token."""
    own: Embed | None = getattr(model, "embed_sequences", None)
    if own is not None:
        return own

    def call_and_pool(
        tokens: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        host_cu_seqlens: Tensor | None,
        marks: PassMarks,
    ) -> Tensor:
        on_host = () if host_cu_seqlens is None else (host_cu_seqlens,)
        marks.launches()
        hidden = model(tokens, cu_seqlens, max_seqlen, *on_host)
        if not isinstance(hidden, Tensor) or hidden.dim() != 2 or len(hidden) < len(tokens):
            # Pooling would read what is not there.
            found = f"a tensor {tuple(hidden.shape)}" if isinstance(hidden, Tensor) else f"a {type(hidden).__name__}"
            raise ValueError(
                f"the model returned {found} for a pack of {len(tokens)} tokens: "
                "it must return a tensor (T, h) with one vector for each of them"
            )
        marks.pools()
        return mean_pool(hidden, cu_seqlens, out=marks.output_buffer(len(cu_seqlens) - 1, hidden.shape[1]))

    return call_and_pool


def make_launcher(model: Callable[..., Tensor], device: torch.device) -> Launch:
    """Returns the function that puts a batch through `model` on `device`."""
    return CudaLauncher(model, device) if device.type == "cuda" else CpuLauncher(model)


@dataclass(frozen=True, slots=True)
class Computed:
    """A batch that the CPU is done with."""

    packed: PackedBatch
    embeddings: Tensor

    def wait(self) -> Tensor:
        """Returns the embeddings."""
        return self.embeddings.clone()  # outside of inference mode, which makes it an ordinary tensor

    def abandon(self) -> None:
        """Does nothing."""


class CpuLauncher:
    """Computes at once. The copies are empty stages, so that records have one form everywhere."""

    def __init__(self, model: Callable[..., Tensor]) -> None:
        self._embed = embed_with(model)

    @torch.inference_mode()
    def __call__(self, packed: PackedBatch, marks: BatchMarks) -> Launched:
        """Returns when the batch is computed."""
        marks.mark("h2d")
        stages = StageMarks(marks, None)
        pooled = self._embed(packed.tokens, packed.cu_seqlens, packed.max_seqlen, None, stages)
        marks.mark("d2h")
        marks.end_stage()
        return Computed(packed, pooled)


@dataclass(frozen=True, slots=True)
class Queued:
    """A batch that a GPU is at work on; see `Launched`.

    Attributes:
        packed: the batch.
        embeddings: (B, h) float32 on the host, pinned, valid once the slot's `done` has come.
        slot: the batch's own until it is waited for or abandoned.
        slots: where the slot goes then.
        compute: the stream that computes.
        marks: of the batch.
        stamped: the embeddings with the times at which the device began and ended them; None if it was not asked.
    """

    packed: PackedBatch
    embeddings: Tensor
    slot: Slot
    slots: Slots
    compute: torch.cuda.Stream
    marks: BatchMarks
    stamped: TimestampedOutput | None

    def wait(self) -> Tensor:
        """Sleeps until the copy to the host is complete."""
        try:
            self.slot.done.synchronize()
        except RuntimeError:
            self.slots.lose(self.slot, self.packed)
            raise
        embeddings = self.embeddings.clone()
        times = None if self.stamped is None else self.stamped.times()
        self.slots.give_back(self.slot)
        if times is not None:
            self.marks.set_device_timestamps(*times)
        return embeddings

    def abandon(self) -> None:
        """Leaves the device to finish by itself."""
        self.slots.abandon(self.slot, self.compute, self.packed)


class CudaLauncher:
    """Queues a batch on three streams, and returns without waiting for any of it.

    Forward and pooling run on the stream that is current when it is called, the copies on streams of their own beside
    it. So the next batch is copied in, and the last one out, while this one computes.
    """

    def __init__(self, model: Callable[..., Tensor], device: torch.device) -> None:
        self._embed = embed_with(model)
        self._index = device.index  # PyTorch's answer to a number is quick, and to nothing it is slow
        self._slots = Slots(device)
        self._compute: torch.cuda.Stream | None = None

    @torch.inference_mode()
    def __call__(self, packed: PackedBatch, marks: BatchMarks) -> Launched:
        """Returns when the batch is queued. After an error nothing of the batch is kept."""
        with torch.cuda.device(self._index):
            compute = torch.cuda.current_stream(self._index)
            if self._compute is not None and self._compute != compute:
                compute.wait_stream(self._compute)  # models may keep memory that each call uses again
            self._compute = compute
            slot = self._slots.take()
            try:
                embeddings, stamped = self._queue(packed, slot, compute, marks)
            except BaseException:
                self._slots.abandon(slot, compute, packed)
                raise
        return Queued(packed, embeddings, slot, self._slots, compute, marks, stamped)

    def _queue(
        self, packed: PackedBatch, slot: Slot, compute: torch.cuda.Stream, marks: BatchMarks
    ) -> tuple[Tensor, TimestampedOutput | None]:
        """Returns where on the host the embeddings will be, and with their times if the pass takes its own.

        A stream waits before the mark of its stage: a device interval then begins when the work could.
        """
        copy_in, copy_out = self._slots.copy_in, self._slots.copy_out
        marks.mark("h2d", copy_in.cuda_stream)
        with OnStream(copy_in, compute):
            tokens, cu_seqlens = slot.pack.copy(packed)
        marks.end_stage()  # now: the model may have to look for a recording before it marks the next one
        slot.copied.record(copy_in)
        compute.wait_event(slot.copied)

        stages = StageMarks(marks, compute.cuda_stream, slot.vectors)
        pooled = self._embed(tokens, cu_seqlens, packed.max_seqlen, packed.cu_seqlens, stages)
        slot.pooled = pooled
        slot.computed.record(compute)
        copy_out.wait_event(slot.computed)

        marks.mark("d2h", copy_out.cuda_stream)
        with OnStream(copy_out, compute):
            embeddings = _to_host(pooled, slot, stages)
        marks.end_stage()
        slot.done.record(copy_out)
        return embeddings, None if stages.stamped is None else stages.stamped.host


def _to_host(pooled: Tensor, slot: Slot, stages: StageMarks) -> Tensor:
    """Queues the copy of the vectors, and of their times if there are any; returns where the vectors will be."""
    sides, stamped = stages.sides, stages.stamped
    if sides is not None and pooled is sides.device.vectors:
        sides.host.memory.copy_(sides.device.memory, non_blocking=True)
        return sides.host.vectors
    if stamped is not None:  # something was done to the vectors after the replay
        stamped.host.stamps.copy_(stamped.device.stamps, non_blocking=True)
    return slot.embeddings.shaped(*pooled.shape).copy_(pooled, non_blocking=True)
