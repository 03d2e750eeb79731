# SPDX-License-Identifier: MIT
"""Whether a model process can be trusted with another trial. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from virnuc_profiler.sweep.leak import is_leak

MOST_NEW_BYTES: Final = 256 * 2**20
"""Over all trials since the first: more than three times what one may leave. A leak that no single trial shows adds up
to that, and what libraries allocate once does not."""

MOST_NEW_DESCRIPTORS: Final = 64
"""A trial of four workers has about thirty pipes: if two of them leave theirs open, something is wrong."""

MOST_NEW_CHILDREN: Final = 4
"""Forkserver, resource tracker and PyTorch's manager of shared memory start when first needed; one to spare."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a model process holds between two trials.

    Attributes:
        device_bytes: device memory of its tensors; None on the CPU, and where it cannot be told.
        descriptors: open files, pipes and sockets.
        children: living processes of its session, apart from itself.
    """

    device_bytes: int | None
    descriptors: int
    children: int


def damage(result: Mapping[str, Any]) -> str | None:
    """What the outcome of a trial may have damaged, in words; None if the process is as good as before.

    Running out of memory is no damage in itself: it is one only if the memory does not come back. All other failures
    are: a CUDA error spoils the context, and of what was hung, cut off or crashed nobody knows the state.
    """
    cleanup = result.get("cleanup")
    if cleanup is not None:
        if cleanup.get("workers_left"):
            return f"worker processes were left: {', '.join(map(str, cleanup['workers_left']))}"
        leaked = cleanup.get("leaked_device_bytes") or 0
        if is_leak(leaked, cleanup.get("device_memory_before")):
            return f"{leaked:,} bytes of device memory did not come back"
    if result["status"] == "success" or result.get("predicted"):
        return None
    if result["reason"] != "OOM":
        return f"the trial failed with {result['reason']}"
    if cleanup is None or (result.get("memory") == "device" and cleanup.get("leaked_device_bytes") is None):
        return "memory ran out, and whether it came back is not known"
    return None


def growth(first: Resources, now: Resources) -> str | None:
    """What has grown since the process's first trial beyond what is usual, in words; None if nothing has."""
    new_bytes = (now.device_bytes or 0) - (first.device_bytes or 0)
    if first.device_bytes is not None and new_bytes > MOST_NEW_BYTES:
        return f"it holds {new_bytes:,} bytes of device memory more than after its first trial"
    if now.descriptors - first.descriptors > MOST_NEW_DESCRIPTORS:
        return f"it has {now.descriptors - first.descriptors} open files more than after its first trial"
    if now.children - first.children > MOST_NEW_CHILDREN:
        return f"it has {now.children - first.children} processes more than after its first trial"
    return None
