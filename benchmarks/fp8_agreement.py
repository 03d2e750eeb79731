# SPDX-License-Identifier: MIT
"""Compare the embeddings of the FP8 model with those of the reference, with the same random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from benchmarks.packed_forward import full_packs, pooled_vectors
from benchmarks.throughput_workloads import Workload
from virnuc_profiler.inference.esm2.model import PackedESM2

SEQUENCES: Final = 200
TOKEN_BUDGET: Final = 4096


@dataclass(frozen=True, slots=True)
class Agreement:
    """Cosine similarities of pooled embeddings.

    Attributes:
        sequences: Number of sequences compared.
        lowest: Lowest similarity between the two embeddings of one sequence.
        between_sequences: Median similarity between reference embeddings of different sequences. If it is near 1 too,
            as it can be with random weights, a high `lowest` means little.
        lowest_centered: Same as `lowest`, after subtracting the mean of the reference embeddings from both sides.
    """

    sequences: int
    lowest: float
    between_sequences: float
    lowest_centered: float

    def __str__(self) -> str:
        return (
            f"cosine similarity of {self.sequences} pooled vectors: at least {self.lowest:.5f}, "
            f"{self.lowest_centered:.5f} without their common mean; "
            f"different sequences have {self.between_sequences:.5f} (median)"
        )


def agreement(reference: PackedESM2, fp8: PackedESM2, workload: Workload) -> Agreement:
    """Run both models over the same packs."""
    packs, count = [], 0
    for packed in full_packs(workload.encoded_fasta, TOKEN_BUDGET):
        if count < SEQUENCES:
            packs.append(packed)
            count += len(packed.positions)
    return compare(pooled_vectors(reference, packs)[:SEQUENCES], pooled_vectors(fp8, packs)[:SEQUENCES])


def compare(reference: Tensor, other: Tensor) -> Agreement:
    """Compare row by row. Both arguments are (n, h) in fp32 with at least two rows."""
    reference, other = reference.double(), other.double()
    common = reference.mean(0)
    unit = torch.nn.functional.normalize(reference)
    first, second = torch.triu_indices(len(unit), len(unit), 1)
    return Agreement(
        sequences=len(reference),
        lowest=float(cosine_similarity(reference, other).min()),
        between_sequences=float((unit @ unit.T)[first, second].median()),
        lowest_centered=float(cosine_similarity(reference - common, other - common).min()),
    )
