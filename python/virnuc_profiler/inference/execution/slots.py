# SPDX-License-Identifier: MIT
"""Memory and events for batches on their way to and from a GPU, reused from batch to batch.

A slot serves one batch at a time, and takes the next one only after the host has waited for the end of the last. So
once the slots are as large as the batches, no batch allocates memory, and no memory is given to a stream while another
stream still reads it.
"""

from __future__ import annotations

import ctypes
from collections import deque

import torch
from torch import Tensor

from virnuc_profiler.inference.batches import PackedBatch, packed_views
from virnuc_profiler.inference.execution.buffers import GrowingBuffer
from virnuc_profiler.inference.execution.output_buffers import OutputBuffers


class InputBuffer:
    """Device memory for one tensor at a time, and pinned memory for tensors that are not pinned.

    Args:
        dtype: Data type of the tensor on the device.
        device: CUDA device.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._on_device = GrowingBuffer(dtype, device=device)
        self._pinned = GrowingBuffer(dtype, pin_memory=True)

    def copy(self, source: Tensor) -> Tensor:
        """Queue the copy of a host tensor on the current stream; return the device tensor.

        A direct copy from pageable memory would make the host wait for the work queued before it, so such tensors take
        a detour through pinned memory. Memory is allocated only if the tensor does not fit.
        """
        if source.dtype != self._on_device.dtype or not source.is_pinned():
            source = self._pinned.shaped(*source.shape).copy_(source)
        return self._on_device.shaped(*source.shape).copy_(source, non_blocking=True)


class PackInput:
    """Device memory for one pack at a time.

    Args:
        device: CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._memory = InputBuffer(torch.uint8, device)
        self._tokens = InputBuffer(torch.uint8, device)
        self._cu_seqlens = InputBuffer(torch.int32, device)

    def copy(self, packed: PackedBatch) -> tuple[Tensor, Tensor]:
        """Queue the copy of a pack's tokens and cumulative lengths; one copy if they lie in one block of memory."""
        memory = packed.contiguous_memory()
        if memory is not None:
            return packed_views(self._memory.copy(memory), packed.cu_seqlens.shape[0] - 1)
        return self._tokens.copy(packed.tokens), self._cu_seqlens.copy(packed.cu_seqlens)


class Slot:
    """Memory and events for one batch on a GPU.

    Attributes:
        pack_input: Device memory for the batch.
        output_buffers: Memory for its vectors, on the device and on the host.
        embeddings: Pinned float32 host memory for vectors that the model returns in other memory.
        pooled: The vectors on the device, kept alive until they have been copied out.
        copied: Event that the batch is on the device.
        computed: Event that the vectors are on the device.
        done: Event that the vectors are on the host. Waiting for it sleeps instead of spinning, which leaves the core
            to the loader's workers.
    """

    def __init__(self, device: torch.device, copy_out: torch.cuda.Stream) -> None:
        self.pack_input = PackInput(device)
        self.output_buffers = OutputBuffers(device, copy_out)
        self.embeddings = GrowingBuffer(torch.float32, pin_memory=True)
        self.pooled: Tensor | None = None
        self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.computed = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]


class Slots:
    """The slots of a launcher, and the two streams that copy to and from the device. Slots are made when none is free.

    The streams do not synchronize with the legacy default stream or with each other: events establish all order.

    Args:
        device: CUDA device.

    Attributes:
        copy_in: Stream that copies batches to the device.
        copy_out: Stream that copies vectors to the host.
    """

    def __init__(self, device: torch.device) -> None:
        self.copy_in: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.copy_out: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._device = device
        self._free: deque[Slot] = deque()

    def acquire(self) -> Slot:
        """Return a slot that no stream uses; wait only if its last batch was dropped and is still in flight."""
        slot = self._free.popleft() if self._free else Slot(self._device, self.copy_out)
        try:
            slot.done.synchronize()
        except RuntimeError:
            self.leak(slot, None)
            raise
        return slot

    def release(self, slot: Slot) -> None:
        """Take back a slot after the host has waited for its `done`."""
        slot.pooled = None
        self._free.append(slot)

    def drop_pending(self, slot: Slot, compute: torch.cuda.Stream, batch: object) -> None:
        """Take back the slot of an unfinished batch that will not be waited for. Neither waits nor raises.

        The slot's `done` is recorded after all work queued so far, and the streams that own the batch's memory wait for
        it. So the batch can no longer touch that memory once it is reused.

        Args:
            slot: Slot of the batch, which may be launched only in part.
            compute: Stream that computes the batch.
            batch: Owner of the pinned memory that the device may still read.
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
            self.leak(slot, batch)
            return
        self.release(slot)

    def leak(self, slot: Slot, batch: object) -> None:
        """Leak a slot, its batch and all other slots, because the device is lost. Never raises."""
        leak_forever(self, slot, batch)


def leak_forever(*owners: object) -> None:
    """Keep objects, and the memory they own, until the process ends; Python does not free them at exit either."""
    for owner in owners:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))
