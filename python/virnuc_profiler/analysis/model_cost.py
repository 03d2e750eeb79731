# SPDX-License-Identifier: MIT
"""Arithmetic work of a packed ESM-2 forward pass.

FLOPs = L (24 h² T + 4 h Σ sᵢ²) for L layers of width h over T = Σ sᵢ tokens, BOS and EOS included, two FLOPs for a
multiplication and an addition: 24 h² a token and layer for the linear maps (query, key, value and output 8 h², the
feed-forward network with its inner width of 4 h 16 h²), and 4 h sᵢ² a sequence and layer for the scores and the
weighted sum of bidirectional attention. Embedding, layer norms, softmax and the language-model head (which
embedding skips) are left out. The counting follows Kaplan et al. 2020 (arXiv 2001.08361, table 1), MFU Chowdhery
et al. 2022 (arXiv 2204.02311, appendix B).
"""

from __future__ import annotations

from dataclasses import dataclass

from virnuc_profiler.telemetry.rates import ratio


def forward_flops(tokens: int, sum_squared_lengths: int, layers: int, hidden: int) -> int:
    """FLOPs of one forward pass, exact.

    Args:
        tokens: T, tokens of all packs.
        sum_squared_lengths: Σ sᵢ² over all sequences.
        layers: L.
        hidden: h, the model's width.

    Raises:
        ValueError: a value is negative, or there are no layers or no width.
    """
    if tokens < 0 or sum_squared_lengths < 0:
        raise ValueError(f"tokens ({tokens}) and sum_squared_lengths ({sum_squared_lengths}) must not be negative")
    if layers < 1 or hidden < 1:
        raise ValueError(f"layers ({layers}) and hidden ({hidden}) must be 1 or more")
    return layers * (24 * hidden * hidden * tokens + 4 * hidden * sum_squared_lengths)


def model_flops_utilization(flops: int, elapsed_seconds: float, ceiling_flops_per_second: float | None) -> float | None:
    """Share of the ceiling that was reached (MFU); None without a ceiling.

    Above 1 says that the ceiling is too low, so it is not cut off.
    """
    return ratio(ratio(flops, elapsed_seconds), ceiling_flops_per_second)


@dataclass(frozen=True, slots=True)
class DeviceCeiling:
    """What a large matrix product reaches on a device in one precision.

    Attributes:
        flops_per_second: sustained; None if it was not measured.
        sm_clock_mhz: of the SMs meanwhile; None if it is not known.
    """

    flops_per_second: float | None = None
    sm_clock_mhz: float | None = None
