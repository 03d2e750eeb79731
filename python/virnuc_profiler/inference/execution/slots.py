# SPDX-License-Identifier: MIT
"""Memory and events for batches on their way in and out of a GPU, used again and again.

A slot serves one batch at a time, and the next only when the host has waited for the end of the one before. So once
the slots are as large as the batches, nothing is allocated for a batch, and no memory is given to a stream that
another stream still reads.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from virnuc_profiler.inference.batches import PackedBatch, packed_views
from virnuc_profiler.inference.execution.buffers import GrowingBuffer, leak_forever
from virnuc_profiler.inference.execution.vectors import OutputBuffers


class InputBuffer:
    """Device memory for one tensor at a time, and pinned memory for those that come without.

    Args:
        dtype: of the tensor on the device.
        device: where.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._on_device = GrowingBuffer(dtype, device=device)
        self._pinned = GrowingBuffer(dtype, pin_memory=True)

    def copy(self, source: Tensor) -> Tensor:
        """Queues the copy of a host tensor on the current stream, and allocates there if it must.

        From pageable memory the host would wait for the work queued before it: hence the step through pinned memory.
        """
        if source.dtype != self._on_device.dtype or not source.is_pinned():
            source = self._pinned.shaped(*source.shape).copy_(source)
        return self._on_device.shaped(*source.shape).copy_(source, non_blocking=True)


class PackInput:
    """Device memory for one pack at a time.

    Args:
        device: where.
    """

    def __init__(self, device: torch.device) -> None:
        self._memory = InputBuffer(torch.uint8, device)
        self._tokens = InputBuffer(torch.uint8, device)
        self._cu_seqlens = InputBuffer(torch.int32, device)

    def copy(self, packed: PackedBatch) -> tuple[Tensor, Tensor]:
        """Queues the copy of a pack's tokens and cumulative lengths, in one piece if they lie so."""
        memory = packed.in_one_piece()
        if memory is not None:
            return packed_views(self._memory.copy(memory), packed.cu_seqlens.shape[0] - 1)
        return self._tokens.copy(packed.tokens), self._cu_seqlens.copy(packed.cu_seqlens)


class Slot:
    """What one batch needs at the edges of a GPU.

    Attributes:
        pack: room for the batch on the device.
        vectors: room for what comes of it, on both sides.
        embeddings: float32, pinned, on the host, for vectors that the model left elsewhere.
        pooled: the vectors on the device, wherever they are, kept until they have been copied out.
        copied: event, the batch is on the device.
        computed: event, its result is, too.
        done: event, the result is on the host. Waiting for it sleeps, where for the others it would spin: the core is
            left to the loader's workers.
    """

    def __init__(self, device: torch.device, copy_out: torch.cuda.Stream) -> None:
        self.pack = PackInput(device)
        self.vectors = OutputBuffers(device, copy_out)
        self.embeddings = GrowingBuffer(torch.float32, pin_memory=True)
        self.pooled: Tensor | None = None
        self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.computed = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]


class Slots:
    """The slots of a launcher, and the two streams that copy from and to them. Slots are made when none is free.

    The streams do not synchronize with the legacy default stream, nor with any other: all order is made by events.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.copy_in: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.copy_out: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._device = device
        self._free: deque[Slot] = deque()

    def take(self) -> Slot:
        """A slot that no stream uses any more. Waits only if its last batch was abandoned and is still on its way."""
        slot = self._free.popleft() if self._free else Slot(self._device, self.copy_out)
        try:
            slot.done.synchronize()
        except RuntimeError:
            self.lose(slot, None)
            raise
        return slot

    def give_back(self, slot: Slot) -> None:
        """Takes back a slot whose `done` the host has waited for."""
        slot.pooled = None
        self._free.append(slot)

    def abandon(self, slot: Slot, compute: torch.cuda.Stream, batch: object) -> None:
        """Takes back a slot from the middle of a batch that nobody waits for. Neither waits nor raises.

        The slot's `done` then comes after all that is queued now. The streams whose memory the batch had go on after
        it too: whatever becomes of that memory, the batch can no longer reach it.

        Args:
            slot: it may hold a batch in any state, also a half-launched one.
            compute: the stream that computes the batch.
            batch: what owns the pinned memory that the device may still read.
        """
        try:
            slot.copied.record(self.copy_in)
            compute.wait_event(slot.copied)
            slot.computed.record(compute)
            self.copy_out.wait_event(slot.computed)
            slot.done.record(self.copy_out)
            self.copy_in.wait_event(slot.done)
            compute.wait_event(slot.done)
        except RuntimeError:
            self.lose(slot, batch)
            return
        self.give_back(slot)

    def lose(self, slot: Slot, batch: object) -> None:
        """Gives up a slot and its batch, and all the others, for the device is lost. Never raises."""
        leak_forever(self, slot, batch)
