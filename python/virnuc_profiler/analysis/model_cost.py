# SPDX-License-Identifier: MIT
"""Arithmetic work of a packed ESM-2 forward pass, and how it compares with what the device can do.

FLOPs = L (24 h² T + 4 h Σ sᵢ²) for L layers of hidden size h over T = Σ sᵢ tokens, BOS and EOS included. A
multiplication and an addition count as two FLOPs. The linear layers take 24 h² per token and layer: 8 h² for query,
key, value and output, and 16 h² for the feed-forward network with its inner size of 4 h. Bidirectional attention takes
4 h sᵢ² per sequence and layer for the scores and the weighted sum. Embedding, layer norms, softmax and the
language-model head, which embedding skips, are not counted. The count follows Kaplan et al. 2020 (arXiv 2001.08361,
table 1), and MFU follows Chowdhery et al. 2022 (arXiv 2204.02311, appendix B).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.rates import ratio

_Number = TypeVar("_Number", int, float)

_SECTION: Final = "model_arithmetic"
_MAX_NUMBER: Final = 1e30
"""Larger numbers in metadata are ignored: no model or device has them, and they overflow."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Shape of an ESM-2 model, which determines its arithmetic work.

    Attributes:
        num_layers: Number of transformer layers.
        hidden_size: Length of a token's hidden vector.

    Raises:
        ValueError: A value is below 1.
    """

    num_layers: int
    hidden_size: int

    def __post_init__(self) -> None:
        if self.num_layers < 1 or self.hidden_size < 1:
            raise ValueError(f"num_layers ({self.num_layers}) and hidden_size ({self.hidden_size}) must be 1 or more")


@dataclass(frozen=True, slots=True)
class DeviceCeiling:
    """Throughput of a large matrix product on a device in one precision.

    Attributes:
        flops_per_second: Sustained FLOP/s; None if it was not measured.
        sm_clock_mhz: SM clock during that measurement; None if it is unknown.
    """

    flops_per_second: float | None = None
    sm_clock_mhz: float | None = None


def forward_flops(tokens: int, sum_squared_lengths: int, shape: ModelShape) -> int:
    """Return the exact number of FLOPs of one forward pass.

    Args:
        tokens: Number of tokens T in all packs.
        sum_squared_lengths: Sum of the squared sequence lengths Σ sᵢ².
        shape: Shape of the model.

    Raises:
        ValueError: `tokens` or `sum_squared_lengths` is negative.
    """
    if tokens < 0 or sum_squared_lengths < 0:
        raise ValueError(f"tokens ({tokens}) and sum_squared_lengths ({sum_squared_lengths}) must not be negative")
    hidden_size = shape.hidden_size
    return shape.num_layers * (24 * hidden_size * hidden_size * tokens + 4 * hidden_size * sum_squared_lengths)


def flops_by_batch(batches: BatchTable, shape: ModelShape) -> NDArray[np.float64]:
    """Return the FLOPs of each batch, rounded to 53 bits, as a column of shape (batches,).

    Args:
        batches: Batches with packing statistics. Values of batches without them mean nothing.
        shape: Shape of the model.
    """
    tokens, squares = (batches.columns[name].astype(np.float64) for name in ("tokens", "sum_squared_lengths"))
    hidden_size = float(shape.hidden_size)
    flops: NDArray[np.float64] = shape.num_layers * (24 * hidden_size**2 * tokens + 4 * hidden_size * squares)
    return flops


def model_flops_utilization(flops: int, elapsed_seconds: float, ceiling: DeviceCeiling) -> float | None:
    """Return the share of the device's ceiling that a model reached (MFU).

    A value above 1 means that the ceiling is too low, so it is not cut off.

    Args:
        flops: FLOPs of the model.
        elapsed_seconds: Time in which they were executed.
        ceiling: Ceiling of the device. If it was not measured, the result is None.
    """
    return ratio(ratio(flops, elapsed_seconds), ceiling.flops_per_second)


def arithmetic_metadata(shape: ModelShape | None, ceiling: DeviceCeiling) -> dict[str, Any]:
    """Return the metadata by which a run keeps its model's shape and its device's ceiling.

    Args:
        shape: Shape of the model, or None if it is unknown.
        ceiling: Ceiling of the device.
    """
    return {
        _SECTION: {
            "num_layers": None if shape is None else shape.num_layers,
            "hidden_size": None if shape is None else shape.hidden_size,
            "ceiling_flops_per_second": ceiling.flops_per_second,
            "ceiling_sm_clock_mhz": ceiling.sm_clock_mhz,
        }
    }


def recorded_shape(metadata: Mapping[str, Any]) -> ModelShape | None:
    """Return the model's shape from a run's metadata; None if the metadata lack a valid one.

    Args:
        metadata: Metadata of a run, of unknown origin.
    """
    arithmetic = _section(metadata)
    num_layers = _positive(arithmetic.get("num_layers"), int)
    hidden_size = _positive(arithmetic.get("hidden_size"), int)
    return None if num_layers is None or hidden_size is None else ModelShape(num_layers, hidden_size)


def recorded_ceiling(metadata: Mapping[str, Any]) -> DeviceCeiling:
    """Return the device's ceiling from a run's metadata, with None for values that the metadata lack.

    Args:
        metadata: Metadata of a run, of unknown origin.
    """
    arithmetic = _section(metadata)
    return DeviceCeiling(
        flops_per_second=_positive(arithmetic.get("ceiling_flops_per_second"), float),
        sm_clock_mhz=_positive(arithmetic.get("ceiling_sm_clock_mhz"), float),
    )


def _section(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    section = metadata.get(_SECTION)
    return section if isinstance(section, Mapping) else {}


def _positive(value: Any, kind: type[_Number]) -> _Number | None:
    return kind(value) if type(value) in (int, kind) and 0 < value < _MAX_NUMBER else None
