# SPDX-License-Identifier: MIT
"""Whether the kernels of this room can run."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Final

import torch

_DTYPES: Final = (torch.float16, torch.bfloat16)


def obstacle(device: torch.device, dtype: torch.dtype) -> str:
    """Why they cannot run there; empty if they can."""
    if device.type != "cuda":
        return f"it needs a CUDA device, not {device}"
    if dtype not in _DTYPES:
        return f"it computes in fp16 or bf16, not {dtype}"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return f"{torch.cuda.get_device_name(device)} is older than Ampere (compute capability 8.0)"
    if find_spec("triton") is None:
        return "the package triton is not installed (PyTorch for CUDA brings it along)"
    return ""


@cache
def kernels_run_on(device: torch.device) -> bool:
    """Whether those can run that do not mind the dtype."""
    return not obstacle(device, torch.bfloat16)
