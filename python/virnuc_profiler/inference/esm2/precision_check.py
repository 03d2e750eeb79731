# SPDX-License-Identifier: MIT
"""Compare the vectors of an FP8 model with those of the same model in bf16 and in fp32."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from virnuc_profiler.errors import PrecisionError
from virnuc_profiler.inference.esm2.encoders.eager import EagerEncoder
from virnuc_profiler.inference.esm2.layers import EncoderLayer
from virnuc_profiler.inference.ops.attention import SdpaBackend
from virnuc_profiler.inference.ops.pack import Pack
from virnuc_profiler.inference.ops.pooling import mean_pool
from virnuc_profiler.telemetry.number_text import number

if TYPE_CHECKING:
    from virnuc_profiler.inference.batches import PackedBatch
    from virnuc_profiler.inference.esm2.config import Architecture
    from virnuc_profiler.inference.esm2.model import PackedESM2

MIN_COSINE: Final = 0.99
"""Default smallest cosine similarity at which FP8 is accepted."""

MAX_TOKENS: Final = 8192
"""Largest number of tokens that are checked, in the batch's first sequences. In fp32 these take longer than the rest of
the batch in FP8."""


@dataclass(frozen=True, slots=True)
class PrecisionReport:
    """Cosine similarities of the pooled vectors of a few sequences.

    Attributes:
        sequences: Number of sequences.
        bf16_min: Smallest similarity to bf16.
        bf16_mean: Mean similarity to bf16.
        fp32_min: Smallest similarity to fp32, computed with the model's own bf16 weights.
        fp32_mean: Mean similarity to fp32.
    """

    sequences: int
    bf16_min: float
    bf16_mean: float
    fp32_min: float
    fp32_mean: float

    def __str__(self) -> str:
        return (
            f"cosine similarity of {self.sequences} vectors: minimum {self.bf16_min:.5f} (mean {self.bf16_mean:.5f}) "
            f"to bf16, minimum {self.fp32_min:.5f} (mean {self.fp32_mean:.5f}) to fp32"
        )


PrecisionCheck = Callable[["PackedBatch"], PrecisionReport]


def make_precision_check(model: Any, min_cosine: float | None) -> PrecisionCheck | None:
    """Return a function that runs `check_precision` on a batch on the host; None if there is nothing to check.

    Args:
        model: Model that is checked if it is in FP8.
        min_cosine: Smallest accepted cosine similarity; None for no check.
    """
    if min_cosine is None or not getattr(model, "fp8", False):
        return None

    def check(packed: PackedBatch) -> PrecisionReport:
        ends = packed.cu_seqlens
        sequences = max(1, int((ends[1:] <= MAX_TOKENS).sum()))
        tokens, cu_seqlens = packed.tokens[: int(ends[sequences])], ends[: sequences + 1]
        on_device = tokens.to(model.device), cu_seqlens.to(model.device)
        return check_precision(model, *on_device, packed.max_seqlen, min_cosine)

    return check


@torch.inference_mode()
def check_precision(
    model: PackedESM2, tokens: Tensor, cu_seqlens: Tensor, max_seqlen: int, min_cosine: float = MIN_COSINE
) -> PrecisionReport:
    """Run a pack through the model in FP8, bf16 and fp32, and compare the vectors; waits for the device.

    Args:
        model: Model in FP8.
        tokens: (T,) integers on the model's device.
        cu_seqlens: (B + 1,) int32 on the same device, cumulative lengths from 0.
        max_seqlen: Tokens of the longest sequence.
        min_cosine: Smallest accepted similarity of every sequence, to bf16 and to fp32.

    Raises:
        PrecisionError: A sequence falls below `min_cosine`, or its vector is not finite.
    """
    pack = Pack(tokens.shape[0], cu_seqlens, max_seqlen, cu_seqlens.cpu())
    found = mean_pool(model(tokens, cu_seqlens, max_seqlen), cu_seqlens)
    in_bf16 = mean_pool(model.encode_unquantized(tokens, pack), cu_seqlens)
    in_fp32 = mean_pool(EagerEncoder(SdpaBackend())(_InFp32(model), tokens, pack), cu_seqlens)  # type: ignore[arg-type]
    against_bf16, against_fp32 = (cosine_similarity(found, other, dim=-1) for other in (in_bf16, in_fp32))
    report = PrecisionReport(
        sequences=len(found),
        bf16_min=float(against_bf16.min()),
        bf16_mean=float(against_bf16.mean()),
        fp32_min=float(against_fp32.min()),
        fp32_mean=float(against_fp32.mean()),
    )
    lowest = min(report.bf16_min, report.fp32_min)
    if not lowest >= min_cosine:  # "not >=" is also true for NaN
        raise PrecisionError(
            f"FP8 is too imprecise for {model.model_name} with these sequences: {report}; "
            f"the lowest is {number(lowest, 5, beside=min_cosine)}, but at least {min_cosine} is required: use bf16, "
            "or lower the limit (--min-cosine; in Python: min_cosine)"
        )
    return report


class _InFp32:
    """A model's weights in fp32, converted one layer at a time because a whole copy may not fit."""

    dtype = torch.float32

    def __init__(self, model: PackedESM2) -> None:
        self._model = model
        self.architecture: Architecture = model.architecture
        self.embed_tokens: nn.Module = copy.deepcopy(model.embed_tokens).float()
        self.final_norm: nn.Module = copy.deepcopy(model.final_norm).float()
        self.rotary_frequencies = model.rotary_frequencies

    @property
    def layers(self) -> Iterator[EncoderLayer]:
        return (copy.deepcopy(layer).float() for layer in self._model.layers)
