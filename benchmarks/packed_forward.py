# SPDX-License-Identifier: MIT
"""Measure our forward pass alone: packs are already on the device, and nothing runs around the model except pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from benchmarks.passes import Batch, Load, evenly_spread
from virnuc_profiler import SequenceDataset, VarlenCollator, create_async_dataloader
from virnuc_profiler.analysis.model_cost import ModelShape, forward_flops
from virnuc_profiler.inference.batches import PackedBatch
from virnuc_profiler.inference.esm2.model import PackedESM2
from virnuc_profiler.inference.sequences.fasta import FastaFile

FULL: Final = 0.97


def full_packs(fasta: FastaFile, token_budget: int) -> list[PackedBatch]:
    """Pack all sequences at once. The smaller batch that remains at the end is left out."""
    collator = VarlenCollator(max_tokens_per_batch=token_budget, buffer_size=len(fasta))
    packs = list(create_async_dataloader(SequenceDataset(fasta), collator, num_workers=0, pin_memory=False))
    full = [packed for packed in packs if (packed.statistics.packing_efficiency or 0) > FULL]
    return full or packs


def packed_batches(packs: list[PackedBatch], model: PackedESM2) -> list[Batch]:
    """Return packs on the model's device. The lengths are on the host too, as the runner has them."""
    batches: list[Batch] = [
        (
            Load(packed.statistics.tokens, _flops(packed, model)),
            (
                packed.tokens.to(model.device),
                packed.cu_seqlens.to(model.device),
                packed.max_seqlen,
                packed.cu_seqlens,
            ),
        )
        for packed in packs
    ]
    return evenly_spread(batches)


def packed_launch(model: PackedESM2) -> Callable[[Any], Tensor]:
    """Run the forward pass and pooling."""

    def launch(batch: tuple[Tensor, Tensor, int, Tensor]) -> Tensor:
        return model.embed_sequences(*batch)

    return launch


@torch.inference_mode()
def pooled_vectors(model: PackedESM2, packs: list[PackedBatch]) -> Tensor:
    """Return (sequences, h) fp32 embeddings on the CPU, pack after pack, in the same order for every model."""
    launch = packed_launch(model)
    return torch.cat([launch(batch).cpu() for _, batch in packed_batches(packs, model)])


def _flops(packed: PackedBatch, model: PackedESM2) -> int:
    found = packed.statistics
    return forward_flops(found.tokens, found.sum_squared_lengths, ModelShape(model.num_layers, model.hidden_size))
