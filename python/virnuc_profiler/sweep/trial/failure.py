# SPDX-License-Identifier: MIT
"""Exceptions to plain data: a dead exception must not keep a batch's tensors alive."""

from __future__ import annotations

import errno
import re
import signal
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from virnuc_profiler.errors import CudaError, DeadlineExceeded, WorkerCrash
from virnuc_profiler.inference.loading.worker_processes import signal_name
from virnuc_profiler.sweep.machine.device_memory import first_line

OOM: Final = "OOM"
DEVICE: Final = "device"
HOST: Final = "host"
SHARED: Final = "shared memory"

_CUDA_OUT_OF_MEMORY: Final = 2  # CUDA_ERROR_OUT_OF_MEMORY of the driver's CUresult
_SIGNS: Final[Mapping[str, tuple[str, ...]]] = {
    SHARED: (
        "unable to allocate shared memory",
        "unable to write to file </torch_",
        "unable to mmap",
        "out of shared memory",
        "insufficient shared memory",
        "No space left on device: '/dev/shm",
        "No space left on device: '/psm_",
    ),
    DEVICE: ("CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"),
    HOST: ("DefaultCPUAllocator", "can't allocate memory", "not enough memory", "Cannot allocate memory"),
}
"""What messages say that have no type of their own, by the memory that ran out."""
_CUDA_ERROR: Final = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "cuDNN error", "CUDA driver error")
_IN_SHARED_MEMORY: Final = ("/dev/shm", "/psm_", "/torch_")  # noqa: S108  names, not files


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a configuration could not be measured.

    Attributes:
        reason: ``OOM``, ``worker_crash``, ``cuda_error``, ``timeout`` or ``error``.
        message: one line.
        memory: which memory ran out, ``device``, ``host`` or ``shared memory``; None for other reasons.
        evidence: what shows it: codes, calls, signals, counters.
    """

    reason: str
    message: str
    memory: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict, compare=False)


def describe_failure(error: BaseException, oom_kills: Mapping[str, int] | None = None) -> Failure:
    """Tells failures apart by their type, and by their message where PyTorch has only RuntimeError for them.

    Args:
        error: what ended the run.
        oom_kills: those of the kernel's counters of processes killed for want of memory that have grown since the run
            began, by how much: with them a worker that was killed by SIGKILL ran out of memory, without them somebody
            killed it.
    """
    message = f"{type(error).__name__}: {first_line(error)}"
    crash = worker_evidence(error) if isinstance(error, WorkerCrash) else {}
    if (memory := _exhausted_memory(error)) is not None:
        evidence = crash or {"exception": type(error).__name__}
        cuda = cuda_evidence(error) if memory == DEVICE and _is_cuda_error(error) else {}
        return Failure(OOM, message, memory, {**evidence, **cuda, **allocation_evidence(error)})
    if isinstance(error, WorkerCrash):
        if error.exit_code == -signal.SIGKILL and oom_kills:
            return Failure(OOM, message, HOST, {**crash, "oom_kills": oom_kills})
        return Failure("worker_crash", first_line(error), evidence=crash)
    if isinstance(error, DeadlineExceeded):
        return Failure("timeout", first_line(error), evidence={"exception": type(error).__name__})
    if _is_cuda_error(error):
        return Failure("cuda_error", message, evidence=cuda_evidence(error))
    return Failure("error", message, evidence=place_of(error))


def release_traceback(error: BaseException) -> None:
    """Empties the frames that an exception holds, and all that its attributes hold but plain values.

    So with its causes, its contexts, and the members of a group, all of which are cut off. A log or a debugger may
    keep the exception, but no longer the tensors of a batch.
    """
    for dead in list(_chain(error)):
        if dead.__traceback__ is not None:
            traceback.clear_frames(dead.__traceback__)
        dead.__traceback__ = dead.__cause__ = dead.__context__ = None
        with suppress(Exception):  # an exception class may do as it likes with its attributes
            dead.args = tuple(map(_plain, dead.args))
            for name, value in list(vars(dead).items()):
                setattr(dead, name, _plain(value))


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | bytes | int | float) else f"<{type(value).__name__}>"


def _exhausted_memory(error: BaseException) -> str | None:
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return DEVICE
    if isinstance(error, CudaError):
        return DEVICE if error.code == _CUDA_OUT_OF_MEMORY else None
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return SHARED if str(error.filename).startswith(_IN_SHARED_MEMORY) else _sign_of(error)
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return HOST
    if isinstance(error, WorkerCrash):
        if error.exit_code == -signal.SIGBUS:
            return SHARED
        causes = (cause for cause in _chain(error) if cause is not error)
        return next((memory for cause in causes if (memory := _exhausted_memory(cause))), None)
    return _sign_of(error) if isinstance(error, RuntimeError) else None


def _sign_of(error: BaseException) -> str | None:
    text = str(error)
    return next((memory for memory, signs in _SIGNS.items() if any(sign in text for sign in signs)), None)


def _is_cuda_error(error: BaseException) -> bool:
    return isinstance(error, CudaError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in _CUDA_ERROR)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        dead = waiting.pop()
        if dead is not None and id(dead) not in seen:
            seen.add(id(dead))
            yield dead
            waiting += [dead.__cause__, dead.__context__, *getattr(dead, "exceptions", ())]


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
"""The runtime's error codes (driver_types.h, cudaError) by the text that PyTorch passes on, or its beginning."""

_NAME = re.compile(r"`(cuda[A-Z]\w*)'")
_CALL = re.compile(r"when calling [`'](\w+)")
_LIBRARY_STATUS = re.compile(r"\b((?:CUBLAS|CUDNN|CUSPARSE|CUSOLVER)_STATUS_\w+)")
_REQUESTED = re.compile(r"Tried to allocate ([\d.]+ [KMGT]?i?B|\d+ bytes)", re.IGNORECASE)


def cuda_evidence(error: BaseException) -> dict[str, Any]:
    """``code`` (a number, or a library's status), ``name`` and ``call`` of a CUDA error, as far as they are known."""
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
    """``worker``, ``pid``, ``signal`` or ``exit_code`` of one that died, ``exception`` of one that raised."""
    evidence: dict[str, Any] = {"worker": crash.worker, "pid": crash.pid, "exception": crash.exception}
    if crash.exit_code is not None:
        died_of = crash.exit_code
        evidence |= {"signal": signal_name(-died_of)} if died_of < 0 else {"exit_code": died_of}
    return {key: value for key, value in evidence.items() if value is not None}


def allocation_evidence(error: BaseException) -> dict[str, Any]:
    """``requested``: what was to be allocated, in the error's own words."""
    match = _REQUESTED.search(str(error))
    return {} if match is None else {"requested": match[1]}


def place_of(error: BaseException) -> dict[str, Any]:
    """``exception`` and ``raised_in``: the class, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = {"raised_in": f"{frames[-1].filename}:{frames[-1].lineno}, {frames[-1].name}"} if frames else {}
    return {"exception": type(error).__name__, **where}
