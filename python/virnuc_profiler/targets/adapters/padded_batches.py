# SPDX-License-Identifier: MIT
"""What programs with padded batches share: which sequences are batched together, what padding costs, and the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from virnuc_profiler.inference.loading.worker_processes import end_workers
from virnuc_profiler.inference.packing.pack_statistics import padded_statistics
from virnuc_profiler.targets.adapters.emitted_vectors import Emit, drop_vectors

if TYPE_CHECKING:
    import torch

    from virnuc_profiler.capture.profiler import BatchProfiler

PaddedBatch: TypeAlias = "tuple[Sequence[str], torch.Tensor, torch.Tensor]"
"""Identifiers; token ids (B, longest) and attention mask (B, longest) on the host."""


def batches_of_tokens(lengths: Sequence[int], budget: int, sort: bool) -> list[list[int]]:
    """Return positions of sequences, cut into batches that stay within a budget after padding.

    Args:
        lengths: Length of each sequence in tokens.
        budget: Most tokens of a batch, padding included. A longer sequence has a batch of its own.
        sort: Whether sequences of similar length go together, the longest first; otherwise the order stays.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position]) if sort else range(len(lengths))
    batches: list[list[int]] = []
    longest = 0
    for position in order:
        longest = max(longest, lengths[position])
        if not batches or longest * (len(batches[-1]) + 1) > budget:
            batches.append([])
            longest = lengths[position]
        batches[-1].append(position)
    return batches


def mean_over_residues(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of each sequence's residues, BOS, EOS and padding left out, as (B, h).

    Args:
        hidden: (B, longest, h) vectors of the tokens.
        mask: (B, longest) attention mask.
    """
    import torch

    residues = mask.clone()
    residues[:, 0] = 0  # BOS
    residues.scatter_(1, mask.sum(1, keepdim=True) - 1, 0)  # EOS
    sums = (hidden * residues[:, :, None]).sum(1, dtype=torch.float32)
    return sums / residues.sum(1, keepdim=True).clamp_min(1)


def run_padded(
    loader: Iterable[PaddedBatch],
    forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    device: str,
    profiler: BatchProfiler,
    emit: Emit = drop_vectors,
) -> Iterator[int]:
    """Embed padded batches and yield how many sequences each one had.

    Args:
        loader: Source of the batches.
        forward: Model that turns token ids and mask, (B, longest), into vectors, (B, longest, h).
        device: Device of the model.
        profiler: Running profiler.
        emit: What takes the vectors.
    """
    import torch

    iterator = iter(loader)  # starts the workers before the first batch begins, so that they are part of the start-up
    try:
        for ids, tokens, mask in profiler.batches(iterator):
            batch = profiler.current_batch
            batch.set_packing(padded_statistics(mask.sum(1), mask.shape[1]))
            with torch.inference_mode():  # never across a yield: the mode is the thread's
                batch.mark("h2d")
                tokens, mask = (tensor.to(device, non_blocking=True) for tensor in (tokens, mask))
                batch.mark("forward")
                hidden = forward(tokens, mask)
                batch.mark("pool")
                pooled = mean_over_residues(hidden, mask)
                batch.mark("d2h")
                vectors = pooled.cpu()
            batch.mark("emit")
            emit(ids, vectors)
            batch.end()
            yield len(ids)
    finally:
        end_workers(iterator)
