# SPDX-License-Identifier: MIT
"""How far the vectors of the FP8 model are from those of the reference, with the same random weights."""

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
    """Cosine similarities of pooled vectors.

    Attributes:
        sequences: how many were compared.
        lowest: of a sequence's two vectors.
        between_sequences: median of different sequences' reference vectors. Where that is near 1 too, as random
            weights may make it, a high `lowest` says little.
        lowest_centered: `lowest` once the mean of the reference vectors is taken off both.
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
    """Runs both models over the same packs."""
    packs, count = [], 0
    for packed in full_packs(workload.encoded_fasta, TOKEN_BUDGET):
        if count < SEQUENCES:
            packs.append(packed)
            count += len(packed.positions)
    return compare(pooled_vectors(reference, packs)[:SEQUENCES], pooled_vectors(fp8, packs)[:SEQUENCES])


def compare(reference: Tensor, other: Tensor) -> Agreement:
    """Row by row, (n, h) fp32 both; at least two rows."""
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
