# SPDX-License-Identifier: MIT
"""Classify exceptions as plain data, and release the tensors that their tracebacks keep alive."""

from __future__ import annotations

import errno
import signal
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from virnuc_profiler.errors import CudaError, DeadlineExceeded, WorkerCrash, first_line
from virnuc_profiler.inference.loading.environment import environment_failure
from virnuc_profiler.sweep.results.result import ENVIRONMENT, OOM
from virnuc_profiler.sweep.trial.error_evidence import (
    allocation_evidence,
    cuda_evidence,
    raise_location,
    worker_evidence,
)

DEVICE: Final = "device"
HOST: Final = "host"
SHARED: Final = "shared memory"

_CUDA_OUT_OF_MEMORY: Final = 2  # CUDA_ERROR_OUT_OF_MEMORY of the driver's CUresult
_OOM_MESSAGES: Final[Mapping[str, tuple[str, ...]]] = {
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
"""Parts of the messages of out-of-memory errors without a type of their own, by the memory that ran out."""
_CUDA_ERROR_MESSAGES: Final = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "cuDNN error", "CUDA driver error")
_IN_SHARED_MEMORY: Final = ("/dev/shm", "/psm_", "/torch_")  # noqa: S108  names, not files


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a configuration could not be measured.

    Attributes:
        reason: ``OOM``, ``worker_crash``, ``cuda_error``, ``timeout``, ``environment`` or ``error``.
        message: Message of the error in one line.
        memory: Memory that ran out: ``device``, ``host`` or ``shared memory``. None for other reasons.
        evidence: Codes, calls, signals and counters that support the reason.
    """

    reason: str
    message: str
    memory: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict, compare=False)


def describe_failure(error: BaseException, oom_kills: Mapping[str, int] | None = None, num_workers: int = 0) -> Failure:
    """Classify an error by its type, or by its message where PyTorch raises only RuntimeError.

    Args:
        error: Error that ended the run.
        oom_kills: Growth of the kernel's OOM-kill counters since the run began, by counter. If one has grown, a worker
            that died of SIGKILL is taken to have run out of memory.
        num_workers: Number of workers of the run.
    """
    message = f"{type(error).__name__}: {first_line(error)}"
    crash = worker_evidence(error) if isinstance(error, WorkerCrash) else {}
    if (memory := _exhausted_memory(error)) is not None:
        evidence = crash or {"exception": type(error).__name__}
        cuda = cuda_evidence(error) if memory == DEVICE and _is_cuda_error(error) else {}
        return Failure(OOM, message, memory, {**evidence, **cuda, **allocation_evidence(error)})
    if (environment := environment_failure(error, num_workers)) is not None:
        return Failure(ENVIRONMENT, first_line(environment), evidence=crash or raise_location(error))
    if isinstance(error, WorkerCrash):
        if error.exit_code == -signal.SIGKILL and oom_kills:
            return Failure(OOM, message, HOST, {**crash, "oom_kills": oom_kills})
        return Failure("worker_crash", first_line(error), evidence=crash)
    if isinstance(error, DeadlineExceeded):
        return Failure("timeout", first_line(error), evidence={"exception": type(error).__name__})
    if _is_cuda_error(error):
        return Failure("cuda_error", message, evidence=cuda_evidence(error))
    return Failure("error", message, evidence=raise_location(error))


def release_traceback(error: BaseException) -> None:
    """Clear the frames of an exception, and replace its attributes by plain values.

    The same happens to its causes, its contexts and the members of a group, which are then unlinked. A log or a
    debugger may keep the exception, but it no longer keeps the tensors of a batch alive.
    """
    for linked in list(_chain(error)):
        if linked.__traceback__ is not None:
            traceback.clear_frames(linked.__traceback__)
        linked.__traceback__ = linked.__cause__ = linked.__context__ = None
        with suppress(Exception):  # an exception class may refuse to have its attributes set
            linked.args = tuple(map(_plain, linked.args))
            for name, value in list(vars(linked).items()):
                setattr(linked, name, _plain(value))


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | bytes | int | float) else f"<{type(value).__name__}>"


def _exhausted_memory(error: BaseException) -> str | None:
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return DEVICE
    if isinstance(error, CudaError):
        return DEVICE if error.code == _CUDA_OUT_OF_MEMORY else None
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return SHARED if str(error.filename).startswith(_IN_SHARED_MEMORY) else _memory_in_message(error)
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return HOST
    if isinstance(error, WorkerCrash):
        if error.exit_code == -signal.SIGBUS:
            return SHARED
        causes = (cause for cause in _chain(error) if cause is not error)
        return next((memory for cause in causes if (memory := _exhausted_memory(cause))), None)
    return _memory_in_message(error) if isinstance(error, RuntimeError) else None


def _memory_in_message(error: BaseException) -> str | None:
    text = str(error)
    return next((memory for memory, parts in _OOM_MESSAGES.items() if any(part in text for part in parts)), None)


def _is_cuda_error(error: BaseException) -> bool:
    return isinstance(error, CudaError) or (
        isinstance(error, RuntimeError) and any(part in str(error) for part in _CUDA_ERROR_MESSAGES)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, its causes, its contexts and the members of groups, each once."""
    visited: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        linked = pending.pop()
        if linked is not None and id(linked) not in visited:
            visited.add(id(linked))
            yield linked
            pending += [linked.__cause__, linked.__context__, *getattr(linked, "exceptions", ())]
