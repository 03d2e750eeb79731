# SPDX-License-Identifier: MIT
"""Extract evidence from errors: CUDA codes and calls, worker exits, requested allocations, the raising line."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from typing import Any, Final

from virnuc_profiler.errors import CudaError, WorkerCrash
from virnuc_profiler.inference.loading.worker_processes import signal_name

CUDA_CODES: Final[Mapping[str, int]] = {
    "invalid argument": 1,
    "out of memory": 2,
    "initialization error": 3,
    "driver shutting down": 4,
    "invalid configuration argument": 9,
    "invalid device function": 98,
    "no CUDA-capable device is detected": 100,
    "invalid device ordinal": 101,
    "no kernel image is available": 209,
    "uncorrectable ECC error encountered": 214,
    "uncorrectable NVLink error": 220,
    "invalid resource handle": 400,
    "operation not ready": 600,
    "an illegal memory access was encountered": 700,
    "too many resources requested for launch": 701,
    "the launch timed out and was terminated": 702,
    "device-side assert triggered": 710,
    "hardware stack error": 714,
    "an illegal instruction was encountered": 715,
    "misaligned address": 716,
    "operation not supported on global/shared address space": 717,
    "invalid program counter": 718,
    "unspecified launch failure": 719,
    "CUDA-capable device(s) is/are busy or unavailable": 46,
    "operation failed due to a previous error during capture": 901,
    "unknown error": 999,
}
"""Error codes of the CUDA runtime (cudaError in driver_types.h), by the start of the text in PyTorch's messages."""

_NAME = re.compile(r"`(cuda[A-Z]\w*)'")
_CALL = re.compile(r"when calling [`'](\w+)")
_LIBRARY_STATUS = re.compile(r"\b((?:CUBLAS|CUDNN|CUSPARSE|CUSOLVER)_STATUS_\w+)")
_REQUESTED = re.compile(r"Tried to allocate ([\d.]+ [KMGT]?i?B|\d+ bytes)", re.IGNORECASE)


def cuda_evidence(error: BaseException) -> dict[str, Any]:
    """Return ``code`` (a number or a library's status), ``name`` and ``call`` of a CUDA error, where they are known."""
    if isinstance(error, CudaError):
        return {"code": error.code, "call": error.call}
    text = str(error)
    known = next((code for start, code in CUDA_CODES.items() if f"CUDA error: {start}" in text), None)
    status = _LIBRARY_STATUS.search(text)
    code = getattr(error, "error_code", None)  # of torch.AcceleratorError
    evidence = {
        "code": code if isinstance(code, int) else known if known is not None else status and status[1],
        "name": (match := _NAME.search(text)) and match[1],
        "call": (match := _CALL.search(text)) and match[1],
    }
    return {key: value for key, value in evidence.items() if value is not None}


def worker_evidence(crash: WorkerCrash) -> dict[str, Any]:
    """Return ``worker``, ``pid`` and ``signal`` or ``exit_code`` of a worker that died, or its ``exception``."""
    evidence: dict[str, Any] = {"worker": crash.worker, "pid": crash.pid, "exception": crash.exception}
    if (code := crash.exit_code) is not None:
        evidence |= {"signal": signal_name(-code)} if code < 0 else {"exit_code": code}
    return {key: value for key, value in evidence.items() if value is not None}


def allocation_evidence(error: BaseException) -> dict[str, Any]:
    """Return ``requested``: the size of the failed allocation as the error's message gives it."""
    match = _REQUESTED.search(str(error))
    return {} if match is None else {"requested": match[1]}


def raise_location(error: BaseException) -> dict[str, Any]:
    """Return ``exception`` (the class) and ``raised_in`` (file, line and function that raised it)."""
    frames = traceback.extract_tb(error.__traceback__)
    where = {"raised_in": f"{frames[-1].filename}:{frames[-1].lineno}, {frames[-1].name}"} if frames else {}
    return {"exception": type(error).__name__, **where}
