# SPDX-License-Identifier: MIT
"""Which device a request means, and whether it can compute with the values of the model's knobs."""

from __future__ import annotations

import torch

from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.placement import FP8, resolve_device, resolve_precision
from virnuc_profiler.sweep.plan.request import ModelKnobs


def resolve_supported_device(name: str, knobs: ModelKnobs) -> torch.device:
    """Resolve a device, and refuse precisions that it cannot compute in before anything runs.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        knobs: Values of the model's knobs that will be used.

    Raises:
        UsageError: The device is not there, or cannot compute in a precision, which the message names.
    """
    device = resolve_device(name)
    for precision in knobs.get("precision", ()):
        _require_precision(None if precision is None else str(precision), device)
    return device


def _require_precision(precision: str | None, device: torch.device) -> None:
    dtype = resolve_precision(precision, True, device)
    if precision != FP8:
        return
    from virnuc_profiler.inference.esm2.encoders.fp8 import fp8_unavailable_reason

    if reason := fp8_unavailable_reason(device, dtype):
        raise UsageError(f"precision 'fp8' is not available on {device}: {reason}; use 'bf16'")
