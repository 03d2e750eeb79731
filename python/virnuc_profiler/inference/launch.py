# SPDX-License-Identifier: MIT
"""One batch on its way through the device: copy in, forward, pooling, copy out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from virnuc_profiler.inference.batch_marks import BatchMarks
from virnuc_profiler.inference.batches import PackedBatch
from virnuc_profiler.inference.pooling import mean_pool


@dataclass(frozen=True, slots=True)
class Launched:
    """A batch that the device is at work on.

    Attributes:
        packed: the batch; its pinned memory must live until the device has read it.
        embeddings: (B, h) float32 on the host, valid once `done` has come.
        done: comes when the copy to the host is complete; None on the CPU, where it is.
    """

    packed: PackedBatch
    embeddings: Tensor
    done: torch.cuda.Event | None = None

    def wait(self) -> Tensor:
        """Waits for this batch and no other; returns its embeddings in memory of the caller's own.

        The caller may keep them for ever, and pinned memory is too scarce for that: hence the copy.
        """
        if self.done is not None:
            self.done.synchronize()
        return self.embeddings.clone()


Launch = Callable[[PackedBatch, BatchMarks], Launched]


def launcher_for(model: Callable[..., Tensor], device: torch.device) -> Launch:
    """Returns the function that puts a batch through `model` on `device`."""
    return CudaLauncher(model, device) if device.type == "cuda" else CpuLauncher(model)


class CpuLauncher:
    """Computes at once. The copies are empty stages, so that records have one form everywhere."""

    def __init__(self, model: Callable[..., Tensor]) -> None:
        self._model = model

    @torch.inference_mode()
    def __call__(self, packed: PackedBatch, marks: BatchMarks) -> Launched:
        """Returns when the batch is computed."""
        marks.mark("h2d")
        marks.mark("forward")
        hidden = self._model(packed.tokens, packed.cu_seqlens, packed.max_seqlen)
        marks.mark("pool")
        pooled = mean_pool(hidden, packed.cu_seqlens)
        marks.mark("d2h")
        marks.end_stage()
        return Launched(packed, pooled)


class CudaLauncher:
    """Queues a batch on the current stream of its device, and returns without waiting for any of it."""

    def __init__(self, model: Callable[..., Tensor], device: torch.device) -> None:
        self._model = model
        self._device = device

    @torch.inference_mode()
    def __call__(self, packed: PackedBatch, marks: BatchMarks) -> Launched:
        """Returns when the batch is queued."""
        with torch.cuda.device(self._device):
            stream = torch.cuda.current_stream().cuda_stream
            marks.mark("h2d", stream)
            tokens, cu_seqlens = self._to_device(packed.tokens), self._to_device(packed.cu_seqlens)
            marks.mark("forward", stream)
            hidden = self._model(tokens, cu_seqlens, packed.max_seqlen, packed.cu_seqlens)
            marks.mark("pool", stream)
            pooled = mean_pool(hidden, cu_seqlens)
            marks.mark("d2h", stream)
            # PyTorch keeps pinned blocks, and gives one out again only when the device is done with it.
            embeddings = torch.empty(pooled.shape, dtype=pooled.dtype, pin_memory=True)
            embeddings.copy_(pooled, non_blocking=True)
            marks.end_stage()
            # A blocking event sleeps where another spins: the core is left to the loader's workers.
            done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            done.record()
        return Launched(packed, embeddings, done)

    def _to_device(self, tensor: Tensor) -> Tensor:
        """Copies to the device; from pageable memory that could wait for the work queued before it."""
        pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
        return pinned.to(self._device, non_blocking=True)
