# SPDX-License-Identifier: MIT
"""Snapshot the system resources of this process, and find those that a run has leaked.

Imports no PyTorch, because processes that only supervise use it too.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import psutil

from virnuc_profiler.inference.loading.owner_tag import owner_tag, segment_prefix
from virnuc_profiler.sweep.machine.descendants import LeakedProcess, descendants, describe_processes
from virnuc_profiler.sweep.machine.descriptors import grown_kinds, leaked_descriptors, open_descriptors
from virnuc_profiler.sweep.machine.shared_memory import new_segments, segments

LEAK_SHARE: Final = 0.02
LEAK_BYTES: Final = 80 * 2**20
"""Device memory beyond both limits is a leak. The first run of a model keeps less: its tables, and cuBLAS workspaces of
32 MiB (on Hopper) for each stream that has computed matmuls, which are the caller's and the one that records graphs."""


@dataclass(frozen=True, slots=True)
class ProcessResources:
    """A snapshot of processes, open files and shared memory.

    Attributes:
        processes: Descendants of this process.
        descriptors: Target of each open file descriptor.
        segments: Names of this user's shared memory segments.
    """

    processes: frozenset[psutil.Process]
    descriptors: Mapping[int, str]
    segments: frozenset[str]


@dataclass(frozen=True, slots=True)
class ResourceLeaks:
    """Resources that came with a run and still exist.

    Attributes:
        processes: Live descendants.
        zombies: Descendants that have ended but were not reaped. They use neither CPU time nor memory.
        descriptors: Targets of open descriptors: paths of files and of shared memory, ``socket:[…]``, ``pipe:[…]``.
        descriptor_growth: Number of additional descriptors of each kind, including kinds that drivers open at any time.
        segments: Names of segments in /dev/shm.
        unattributed_segments: Names of segments in /dev/shm that may be those of another program, see
            ``NewSegments``. They are no leak.
    """

    processes: tuple[LeakedProcess, ...] = ()
    zombies: tuple[LeakedProcess, ...] = ()
    descriptors: tuple[str, ...] = ()
    descriptor_growth: Mapping[str, int] = field(default_factory=dict)
    segments: tuple[str, ...] = ()
    unattributed_segments: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether the run has leaked anything."""
        return bool(self.processes or self.zombies or self.descriptors or self.segments)

    def sentences(self) -> list[str]:
        """Describe each leak in a sentence."""
        found = list(map(str, (*self.processes, *self.zombies)))
        if self.descriptors:
            grown = ", ".join(f"{count} more {kind}" for kind, count in self.descriptor_growth.items())
            found.append(f"open descriptors ({grown}): {', '.join(self.descriptors)}")
        return [*found, *(f"shared memory segment {name}" for name in self.segments)]

    def as_dict(self) -> dict[str, Any]:
        """Return the leaks as result files store them."""
        return {
            "processes_left": list(map(asdict, self.processes)),
            "zombies_left": list(map(asdict, self.zombies)),
            "descriptors_left": list(self.descriptors),
            "descriptor_growth": dict(self.descriptor_growth),
            "shared_memory_left": list(self.segments),
            "shared_memory_unattributed": list(self.unattributed_segments),
        }


def snapshot_resources() -> ProcessResources:
    """Return the resources that this process holds now. Takes milliseconds: it scans all processes of the machine."""
    return ProcessResources(descendants(), open_descriptors(), segments())


def leaks_since(before: ProcessResources, workers: Collection[int] = ()) -> ResourceLeaks:
    """Return the resources that came after a snapshot and still exist.

    Args:
        before: Snapshot from before the run.
        workers: Process ids of the run's workers. They may have ended, but their shared memory segments may remain.
    """
    here = descendants()
    alive: list[LeakedProcess] = []
    zombies: list[LeakedProcess] = []
    for process in describe_processes(here - before.processes):
        (alive if process.is_alive else zombies).append(process)
    now = open_descriptors()
    growth = grown_kinds(before.descriptors, now)
    found = new_segments(
        before.segments, {os.getpid(), *(process.pid for process in here)}, workers, segment_prefix(owner_tag())
    )
    return ResourceLeaks(
        processes=tuple(alive),
        zombies=tuple(zombies),
        descriptors=leaked_descriptors(before.descriptors, now, growth),
        descriptor_growth=growth,
        segments=found.ours,
        unattributed_segments=found.unattributed,
    )


def is_leak(leaked_bytes: int | None, before_bytes: int | None) -> bool:
    """Return whether a run has left more device memory than it may.

    Args:
        leaked_bytes: Bytes that it has left; None if unknown, which is no leak.
        before_bytes: Bytes that were held before it; None if unknown.
    """
    return (leaked_bytes or 0) > max(LEAK_BYTES, LEAK_SHARE * (before_bytes or 0))
