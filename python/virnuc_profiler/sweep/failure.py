# SPDX-License-Identifier: MIT
"""Exceptions to plain data: a dead exception must not keep a batch's tensors alive."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch

from virnuc_profiler.errors import CudaError, DeadlineExceeded, WorkerCrash
from virnuc_profiler.sweep.device_memory import first_line

OOM: Final = "OOM"

_CUDA_OUT_OF_MEMORY: Final = 2  # CUDA_ERROR_OUT_OF_MEMORY of the driver's CUresult
_DEVICE_OOM: Final = ("CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
_HOST_OOM: Final = ("DefaultCPUAllocator", "can't allocate memory", "not enough memory", "Cannot allocate memory")
_CUDA_ERROR: Final = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "cuDNN error", "CUDA driver error")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a configuration could not be measured.

    Attributes:
        reason: ``OOM``, ``worker_crash``, ``cuda_error``, ``timeout`` or ``error``.
        message: one line.
        memory: which memory ran out, ``device`` or ``host``; None for other reasons.
    """

    reason: str
    message: str
    memory: str | None = None


def describe_failure(error: BaseException) -> Failure:
    """Tells failures apart by their type, and by their message where PyTorch has only RuntimeError for them."""
    message = f"{type(error).__name__}: {first_line(error)}"
    if (memory := _exhausted_memory(error)) is not None:
        return Failure(OOM, message, memory)
    if isinstance(error, WorkerCrash):
        return Failure("worker_crash", first_line(error))
    if isinstance(error, DeadlineExceeded):
        return Failure("timeout", first_line(error))
    if isinstance(error, CudaError) or _is_cuda_error(error):
        return Failure("cuda_error", message)
    return Failure("error", message)


def bury(error: BaseException) -> None:
    """Empties the frames that an exception, its causes and its contexts hold, and cuts them off."""
    for dead in list(_chain(error)):
        if dead.__traceback__ is not None:
            traceback.clear_frames(dead.__traceback__)
        dead.__traceback__ = dead.__cause__ = dead.__context__ = None


def _exhausted_memory(error: BaseException) -> str | None:
    if isinstance(error, torch.cuda.OutOfMemoryError) or getattr(error, "code", None) == _CUDA_OUT_OF_MEMORY:
        return "device"
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return "host"
    if isinstance(error, WorkerCrash):
        causes = (cause for cause in _chain(error) if cause is not error)
        return next((memory for cause in causes if (memory := _exhausted_memory(cause))), None)
    if isinstance(error, RuntimeError):
        text = str(error)
        if any(sign in text for sign in _DEVICE_OOM):
            return "device"
        if any(sign in text for sign in _HOST_OOM):
            return "host"
    return None


def _is_cuda_error(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _CUDA_ERROR)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        dead = waiting.pop()
        if dead is not None and id(dead) not in seen:
            seen.add(id(dead))
            yield dead
            waiting += [dead.__cause__, dead.__context__]
