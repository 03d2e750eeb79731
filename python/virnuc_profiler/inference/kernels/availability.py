# SPDX-License-Identifier: MIT
"""Whether the Triton kernels can run."""

from __future__ import annotations

import os
import sysconfig
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Final

import torch

_DTYPES: Final = (torch.float16, torch.bfloat16)


def unavailable_reason(device: torch.device, dtype: torch.dtype) -> str:
    """Return why the kernels cannot run on `device` in `dtype`; empty if they can."""
    return half_precision_unavailable_reason(device, dtype) or _triton_unavailable_reason()


def half_precision_unavailable_reason(device: torch.device, dtype: torch.dtype) -> str:
    """Return why half-precision kernels, ours and FlashAttention's, cannot run; empty if they can.

    Args:
        device: Device that would run them.
        dtype: Data type of the activations.
    """
    if device.type != "cuda":
        return f"it needs a CUDA device, not {device}"
    if dtype not in _DTYPES:
        return f"it computes in fp16 or bf16, not {dtype}"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return f"{torch.cuda.get_device_name(device)} is older than Ampere (compute capability 8.0)"
    return ""


@cache
def _triton_unavailable_reason() -> str:
    """Return why Triton cannot launch kernels; for each kernel it compiles a small C extension of Python."""
    if find_spec("triton") is None:
        return "the package triton is not installed (PyTorch for CUDA brings it along)"
    if not any(map(which, filter(None, (os.environ.get("CC"), "gcc", "clang")))):
        return "Triton needs a C compiler: install gcc or clang, or name one in CC"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return f"Triton needs Python's headers, and {sysconfig.get_path('include')} has none: install python3-dev"
    return ""


@cache
def kernels_supported(device: torch.device) -> bool:
    """Return whether the kernels that accept every data type can run on `device`."""
    return not unavailable_reason(device, torch.bfloat16)
