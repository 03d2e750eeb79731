# SPDX-License-Identifier: MIT
"""Which device and which precision a request means."""

from typing import Any, Final

import torch

from virnuc_profiler.errors import UsageError

FP8: Final = "fp8"
PRECISIONS: Final = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, FP8: torch.bfloat16}
"""The dtype of weights, activations and results. ``fp8`` also rounds the inputs of matrix products to FP8."""


def resolve_device(device: Any) -> torch.device:
    """Turns ``auto``, ``cpu``, ``cuda``, ``cuda:N``, a number or a torch.device into a device that is there.

    ``auto`` is the current CUDA device, and the CPU where there is none.

    Raises:
        UsageError: it is not there, or not a device at all; the message says what there is.
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
            f"device {str(device)!r} is not there: PyTorch {torch.__version__} sees no CUDA device, only cpu"
        )
    index = torch.cuda.current_device() if found.index is None else found.index
    if index >= present:
        known = "cuda:0" if present == 1 else f"cuda:0 to cuda:{present - 1}"
        raise UsageError(f"device {str(device)!r} is not there: this process sees {known} and cpu")
    return torch.device("cuda", index)


def resolve_precision(precision: str | None, enable_fp16: bool, device: torch.device) -> torch.dtype:
    """Returns the dtype to compute in.

    Args:
        precision: one of :data:`PRECISIONS`; None leaves the choice to `enable_fp16`.
        enable_fp16: fp16 rather than fp32 on CUDA; the CPU computes in fp32 in any case.
        device: where.

    Raises:
        UsageError: unknown, or fp16 on the CPU.
    """
    if precision is None:
        return torch.float16 if enable_fp16 and device.type == "cuda" else torch.float32
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    if precision == "fp16" and device.type == "cpu":
        raise UsageError("precision 'fp16' needs a GPU: on the CPU use 'fp32', or 'bf16' to save memory")
    return PRECISIONS[precision]
