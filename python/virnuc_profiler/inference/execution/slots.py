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

from virnuc_profiler.inference.batches import PackedBatch, packed_size, packed_views
from virnuc_profiler.inference.execution.buffers import GrowingBuffer
from virnuc_profiler.inference.execution.output_buffers import OutputBuffers, OutputPair
from virnuc_profiler.inference.execution.streams import OnStream


class PackInput:
    """Pinned host memory and device memory for one pack at a time.

    Device memory is allocated from the pool of `stream`, which copies the packs.

    Args:
        device: CUDA device.
        stream: Stream that copies packs to the device.

    Attributes:
        pair: The pack on the device and its pinned memory on the host; None before the first pack.
    """

    def __init__(self, device: torch.device, stream: torch.cuda.Stream) -> None:
        self.pair: tuple[Tensor, Tensor] | None = None
        self._device = device
        self._stream = stream
        self._on_device = GrowingBuffer(torch.uint8, device=device)
        self._pinned = GrowingBuffer(torch.uint8, pin_memory=True)

    def prepare(self, packed: PackedBatch) -> tuple[Tensor, Tensor]:
        """Return memory on the device for a pack, and the pack in pinned memory; both (bytes,) uint8.

        Pageable memory is copied to pinned memory first, because the host would have to wait for a direct copy until
        all work queued before it is done. So are tensors that do not lie in one block of memory. Memory is allocated
        only if the pack does not fit.
        """
        source = packed.contiguous_memory()
        if source is None or not source.is_pinned():
            source = self._pin(packed)
        size = source.shape[0]
        if not self._on_device.holds(size):
            with OnStream(self._stream, torch.cuda.current_stream(self._device)):
                self._on_device.shaped(size)
        self.pair = self._on_device.shaped(size), source
        return self.pair

    def _pin(self, packed: PackedBatch) -> Tensor:
        """Copy a pack into one block of pinned memory."""
        sequences = packed.cu_seqlens.shape[0] - 1
        pinned = self._pinned.shaped(packed_size(sequences, packed.tokens.shape[0]))
        tokens, cu_seqlens = packed_views(pinned, sequences)
        tokens.copy_(packed.tokens)
        cu_seqlens.copy_(packed.cu_seqlens)
        return pinned


class Slot:
    """Memory and events for one batch on a GPU.

    Attributes:
        pack_input: Memory for the batch, pinned on the host and on the device.
        output_buffers: Memory for its vectors, on the device and on the host.
        embeddings: Pinned float32 host memory for vectors that the model returns in other memory.
        pooled: The vectors on the device, kept alive until they have been copied out.
        outputs: The pair of `output_buffers` that is being copied to the host; None if there is none.
        copied: Event that the batch is on the device.
        computed: Event that the vectors are on the device.
        done: Event that the vectors are on the host. Waiting for it sleeps instead of spinning, which leaves the core
            to the loader's workers.
    """

    def __init__(self, device: torch.device, copy_in: torch.cuda.Stream, copy_out: torch.cuda.Stream) -> None:
        self.pack_input = PackInput(device, copy_in)
        self.output_buffers = OutputBuffers(device, copy_out)
        self.embeddings = GrowingBuffer(torch.float32, pin_memory=True)
        self.pooled: Tensor | None = None
        self.outputs: OutputPair | None = None
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
        slot = self._free.popleft() if self._free else Slot(self._device, self.copy_in, self.copy_out)
        try:
            slot.done.synchronize()
        except RuntimeError:
            self.leak(slot, None)
            raise
        return slot

    def release(self, slot: Slot) -> None:
        """Take back a slot after the host has waited for its `done`."""
        slot.pooled = slot.outputs = slot.pack_input.pair = None
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
            self._register(slot.pack_input.pair, self.copy_in)
            slot.copied.record(self.copy_in)
            compute.wait_event(slot.copied)
            slot.computed.record(compute)
            self.copy_out.wait_event(slot.computed)
            if slot.outputs is not None:
                self._register((slot.outputs.host.memory, slot.outputs.device.memory), self.copy_out)
            slot.done.record(self.copy_out)
            self.copy_in.wait_event(slot.done)
            compute.wait_event(slot.done)
        except RuntimeError:
            self.leak(slot, batch)
            return
        self.release(slot)

    def _register(self, pair: tuple[Tensor, Tensor] | None, stream: torch.cuda.Stream) -> None:
        """Repeat the first byte of a copy, so that PyTorch learns that `stream` still uses the pinned memory.

        PyTorch hands pinned memory out again once the last copy that it knows of is done. It does not know of copies
        that `BatchMarks.copy` queued, and the host does not wait for a dropped batch.
        """
        if pair is None:
            return
        target, source = (tensor.view(torch.uint8)[:1] for tensor in pair)
        current = torch.cuda.current_stream(self._device)
        # The memory was allocated in inference mode, outside of which PyTorch may refuse to write to it.
        with torch.inference_mode(), torch.cuda.device(self._device), OnStream(stream, current):
            target.copy_(source, non_blocking=True)

    def leak(self, slot: Slot, batch: object) -> None:
        """Leak a slot, its batch and all other slots, because the device is lost. Never raises."""
        leak_forever(self, slot, batch)


def leak_forever(*owners: object) -> None:
    """Keep objects, and the memory they own, until the process ends; Python does not free them at exit either."""
    for owner in owners:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))
