# SPDX-License-Identifier: MIT
import errno
import gc
import weakref

import pytest
import torch

from virnuc_profiler.errors import CudaError, DeadlineExceeded, WorkerCrash
from virnuc_profiler.sweep.failure import Failure, bury, describe_failure


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
        (ZeroDivisionError(), "error", None),
    ],
)
def test_failures_are_told_apart(error, reason, memory):
    failure = describe_failure(error)
    assert (failure.reason, failure.memory) == (reason, memory)
    assert failure.message
    assert "\n" not in failure.message


def test_the_message_names_the_type_and_keeps_the_first_line():
    assert describe_failure(RuntimeError("one\ntwo")) == Failure("error", "RuntimeError: one")


class Tensor:
    """Stands for something large."""


def test_a_buried_exception_keeps_nothing_alive():
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
    bury(error)
    assert seen() is None
    assert (error.__traceback__, error.__context__, error.__cause__) == (None, None, None)
