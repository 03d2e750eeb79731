# SPDX-License-Identifier: MIT
import errno
import gc
import weakref
from pathlib import Path

import pytest
import torch

from virnuc_profiler.errors import CudaError, DeadlineExceeded, EnvironmentFailure, WorkerCrash
from virnuc_profiler.sweep.trial.failure import Failure, describe_failure, release_traceback


def crash_from(cause: BaseException) -> WorkerCrash:
    error = WorkerCrash("a DataLoader worker raised it")
    error.__cause__ = cause
    return error


def real_host_out_of_memory() -> RuntimeError:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    return caught.value


@pytest.mark.parametrize(
    ("error", "reason", "memory"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "OOM", "device"),
        (CudaError("cuMemAlloc failed", 2, "cuMemAlloc"), "OOM", "device"),
        (RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA"), "OOM", "device"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), "OOM", "device"),
        (MemoryError(), "OOM", "host"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "OOM", "host"),
        (real_host_out_of_memory(), "OOM", "host"),
        (crash_from(MemoryError()), "OOM", "host"),
        (crash_from(RuntimeError("CUDA error")), "worker_crash", None),
        (WorkerCrash("worker 1 (pid 4) was killed by SIGKILL"), "worker_crash", None),
        (DeadlineExceeded("it took longer than 3 s"), "timeout", None),
        (CudaError("cuEventRecord: an illegal memory access", 700, "cuEventRecord"), "cuda_error", None),
        (RuntimeError("CUDA error: device-side assert triggered\nFor debugging"), "cuda_error", None),
        (RuntimeError("shapes do not fit"), "error", None),
        (OSError(errno.ENOSPC, "No space left on device"), "error", None),
        (OSError(errno.ENOSPC, "No space left on device", "/dev/shm/psm_1"), "OOM", "shared memory"),
        (RuntimeError("unable to write to file </torch_7_1>: No space left on device (28)"), "OOM", "shared memory"),
        (RuntimeError("unable to allocate shared memory(shm) for file </torch_7_1>"), "OOM", "shared memory"),
        (WorkerCrash("it was killed by SIGBUS", exit_code=-7), "OOM", "shared memory"),
        (crash_from(RuntimeError("OSError: [Errno 28] No space left on device: '/psm_1'")), "OOM", "shared memory"),
        (crash_from(RuntimeError("It is possible that workers are out of shared memory")), "OOM", "shared memory"),
        (OSError(errno.EMFILE, "Too many open files"), "environment", None),
        (RuntimeError("can't start new thread"), "environment", None),
        (crash_from(RuntimeError("OSError: [Errno 24] Too many open files")), "environment", None),
        (EnvironmentFailure("no folder can hold the sockets"), "environment", None),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "error", None),
        (ZeroDivisionError(), "error", None),
    ],
)
def test_failures_are_classified(error, reason, memory):
    failure = describe_failure(error)
    assert (failure.reason, failure.memory) == (reason, memory)
    assert failure.message
    assert "\n" not in failure.message


def test_the_message_has_the_type_and_the_first_line():
    assert describe_failure(RuntimeError("one\ntwo")) == Failure("error", "RuntimeError: one")


class Tensor:
    """Represents a large tensor."""


def test_release_traceback_frees_what_the_frames_hold():
    def compute(large):
        local = large
        raise ValueError(len([local]))

    def wrap(large):
        try:
            compute(large)
        except ValueError:
            raise RuntimeError("while computing") from None

    tensor = Tensor()
    seen = weakref.ref(tensor)
    try:
        wrap(tensor)
    except RuntimeError as caught:
        error = caught
    del tensor
    gc.collect()
    assert seen() is not None, "the traceback should have kept it alive until now"
    release_traceback(error)
    assert seen() is None
    assert (error.__traceback__, error.__context__, error.__cause__) == (None, None, None)


@pytest.mark.parametrize(
    ("error", "evidence"),
    [
        (CudaError("cuEventRecord failed", 700, "cuEventRecord"), {"code": 700, "call": "cuEventRecord"}),
        (
            RuntimeError("CUDA error: device-side assert triggered\nSearch for `cudaErrorAssert' in https://docs"),
            {"code": 710, "name": "cudaErrorAssert"},
        ),
        (RuntimeError("CUDA error: a text of tomorrow"), {}),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx( handle, ...)`"),
            {"code": "CUBLAS_STATUS_EXECUTION_FAILED", "call": "cublasGemmEx"},
        ),
        (
            torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has"),
            {"exception": "OutOfMemoryError", "requested": "2.50 GiB"},
        ),
        (WorkerCrash("", worker=1, pid=4, exit_code=-9), {"worker": 1, "pid": 4, "signal": "SIGKILL"}),
        (WorkerCrash("", worker=1, pid=4, exit_code=3), {"worker": 1, "pid": 4, "exit_code": 3}),
        (WorkerCrash("", exception="KeyError"), {"exception": "KeyError"}),
    ],
)
def test_each_failure_has_its_evidence(error, evidence):
    assert describe_failure(error).evidence == evidence


def test_the_evidence_of_an_error_names_the_raising_line():
    with pytest.raises(ValueError, match="invalid") as caught:
        int("x")
    evidence = describe_failure(caught.value).evidence
    assert evidence["exception"] == "ValueError"
    assert Path(__file__).name in evidence["raised_in"]


@pytest.mark.parametrize(("grown", "reason"), [({"vmstat": 1}, "OOM"), ({}, "worker_crash"), (None, "worker_crash")])
def test_sigkill_is_out_of_memory_only_if_the_kernel_counted_it(grown, reason):
    assert describe_failure(WorkerCrash("killed", exit_code=-9), grown).reason == reason


class Group(Exception):
    """Imitates the exception groups of Python 3.11."""

    def __init__(self, exceptions):
        super().__init__("several")
        self.exceptions = exceptions


def test_release_traceback_covers_group_members_and_attributes():
    tensors = [Tensor(), Tensor(), Tensor()]
    seen = [weakref.ref(tensor) for tensor in tensors]

    def fail(local):
        raise ValueError("inner")

    try:
        fail(tensors[0])
    except ValueError as caught:
        inner = caught
    inner.held = tensors[1]
    error = Group([inner])
    error.args = ("kept", 7, tensors[2])
    tensors.clear()
    release_traceback(error)
    assert [reference() for reference in seen] == [None] * 3
    assert error.args == ("kept", 7, "<Tensor>")
