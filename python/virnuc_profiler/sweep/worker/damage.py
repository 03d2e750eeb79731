# SPDX-License-Identifier: MIT
"""What a trial may have damaged in its process, so that the next one needs another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from virnuc_profiler.sweep.machine.process_resources import is_leak
from virnuc_profiler.sweep.results.result import OOM, Result

MAX_NEW_BYTES: Final = 256 * 2**20
"""Limit over all trials since the first, more than three times what one trial may leave. A leak that no single trial
shows adds up to that; what libraries allocate once does not."""

MAX_NEW_DESCRIPTORS: Final = 64
"""A trial of four workers has about thirty pipes, so this is what two trials leave open if they close none."""

MAX_NEW_CHILDREN: Final = 4
"""Forkserver, resource tracker and PyTorch's shared-memory manager start when first needed; one to spare."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a model process holds between two trials.

    Attributes:
        device_bytes: Device memory of its tensors in bytes; None on the CPU, and where it is not known.
        descriptors: Number of open files, pipes and sockets.
        children: Number of living processes of its session, apart from itself.
    """

    device_bytes: int | None
    descriptors: int
    children: int


def damage(result: Result) -> str | None:
    """Return what a trial may have damaged, in words; None if the process is as good as before.

    Running out of memory damages the process only if the memory does not come back. Any other failure does: a CUDA
    error spoils the context, and the state of what hung, was cut off or crashed is unknown.

    Args:
        result: Result of the trial.
    """
    cleanup = result.cleanup
    if cleanup is not None:
        if cleanup.get("workers_left"):
            return f"worker processes were left: {', '.join(map(str, cleanup['workers_left']))}"
        if segments := cleanup.get("shared_memory_left"):
            return f"shared memory was left: {', '.join(segments)}"
        leaked = cleanup.get("leaked_device_bytes") or 0
        if is_leak(leaked, cleanup.get("device_memory_before")):
            return f"{leaked:,} bytes of device memory did not come back"
    if result.succeeded or result.predicted:
        return None
    if result.reason != OOM:
        return f"the trial failed with {result.reason}"
    if cleanup is None or (result.memory == "device" and cleanup.get("leaked_device_bytes") is None):
        return "memory ran out, and whether it came back is not known"
    return None


def growth(first: Resources, now: Resources) -> str | None:
    """Return what has grown more than is usual since the first trial, in words; None if nothing has.

    Args:
        first: Resources after the first trial of the process.
        now: Resources after the latest trial.
    """
    new_bytes = (now.device_bytes or 0) - (first.device_bytes or 0)
    if first.device_bytes is not None and new_bytes > MAX_NEW_BYTES:
        return f"it holds {new_bytes:,} bytes of device memory more than after its first trial"
    if now.descriptors - first.descriptors > MAX_NEW_DESCRIPTORS:
        return f"it has {now.descriptors - first.descriptors} open files more than after its first trial"
    if now.children - first.children > MAX_NEW_CHILDREN:
        return f"it has {now.children - first.children} processes more than after its first trial"
    return None
