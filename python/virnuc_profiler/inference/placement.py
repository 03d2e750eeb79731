# SPDX-License-Identifier: MIT
"""Resolve requests for a device and a precision."""

from typing import Any, Final

import torch

from virnuc_profiler.errors import UsageError

FP8: Final = "fp8"
PRECISIONS: Final = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, FP8: torch.bfloat16}
"""Data type of weights, activations and results. ``fp8`` also rounds the inputs of matrix products to FP8."""


def resolve_device(device: Any) -> torch.device:
    """Return the available device that a request names.

    Args:
        device: Requested device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, a device number or a ``torch.device``.
            ``auto`` is the current CUDA device, or the CPU if there is none.

    Raises:
        UsageError: `device` is not available, or is not a device; the message lists the available ones.
    """
    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        device = "cuda" if present else "cpu"
    try:
        found = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise UsageError(f"device {str(device)!r} is not one of auto, cpu, cuda, cuda:N")
    if found.type == "cpu":
        return torch.device("cpu")
    if not present:
        raise UsageError(
            f"device {str(device)!r} is not available: PyTorch {torch.__version__} sees no CUDA device, only cpu"
        )
    index = torch.cuda.current_device() if found.index is None else found.index
    if index >= present:
        known = "cuda:0" if present == 1 else f"cuda:0 to cuda:{present - 1}"
        raise UsageError(f"device {str(device)!r} is not available: this process sees {known} and cpu")
    return torch.device("cuda", index)


def resolve_precision(precision: str | None, enable_fp16: bool | None, device: torch.device) -> torch.dtype:
    """Return the data type to compute in.

    Args:
        precision: One of :data:`PRECISIONS`; None leaves the choice to `enable_fp16`.
        enable_fp16: Whether to use fp16 instead of fp32 on CUDA; the CPU always defaults to fp32. None means True.
        device: Device that computes.

    Raises:
        TypeError: `enable_fp16` is not a bool; a name of a precision there would be taken for True.
        UsageError: `precision` is unknown, or is fp16 on the CPU.
    """
    if not (enable_fp16 is None or isinstance(enable_fp16, bool)):
        raise TypeError(f"enable_fp16 is {enable_fp16!r}, must be True or False: choose others with precision=")
    if precision is None:
        return torch.float16 if enable_fp16 is not False and device.type == "cuda" else torch.float32
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    if precision == "fp16" and device.type == "cpu":
        raise UsageError("precision 'fp16' needs a GPU: on the CPU use 'fp32', or 'bf16' to save memory")
    return PRECISIONS[precision]
