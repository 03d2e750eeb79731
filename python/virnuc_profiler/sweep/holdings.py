# SPDX-License-Identifier: MIT
"""What this process holds of the machine, and what of it a run has left behind."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

from virnuc_profiler.inference.process_mark import own_mark
from virnuc_profiler.inference.segment_names import segment_prefix
from virnuc_profiler.sweep.descendants import ProcessLeft, descendants, describe_processes
from virnuc_profiler.sweep.descriptors import grown_kinds, left_open, open_descriptors
from virnuc_profiler.sweep.shared_memory import left_segments, segments


@dataclass(frozen=True, slots=True)
class Holdings:
    """Processes, open files and shared memory at one moment.

    Attributes:
        processes: all below this one.
        descriptors: what each open file descriptor refers to.
        segments: names of this user's shared memory segments.
    """

    processes: frozenset[psutil.Process]
    descriptors: Mapping[int, str]
    segments: frozenset[str]


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What is there that was not there before.

    Attributes:
        processes: that live.
        zombies: that are dead, but whose exit code nobody has asked for. They take neither time nor memory.
        descriptors: what is still open: paths of files and of shared memory, ``socket:[…]``, ``pipe:[…]``.
        descriptor_growth: by how many the kinds of descriptors grew, also those of which drivers take what they like.
        segments: names of segments in /dev/shm.
    """

    processes: tuple[ProcessLeft, ...] = ()
    zombies: tuple[ProcessLeft, ...] = ()
    descriptors: tuple[str, ...] = ()
    descriptor_growth: Mapping[str, int] = field(default_factory=dict)
    segments: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is left that a run must not leave."""
        return bool(self.processes or self.zombies or self.descriptors or self.segments)

    def sentences(self) -> list[str]:
        """One for each kind, with names."""
        found = [str(process) for process in (*self.processes, *self.zombies)]
        if self.descriptors:
            grown = ", ".join(f"{count} more of kind {kind}" for kind, count in self.descriptor_growth.items())
            found.append(f"open descriptors ({grown}): {', '.join(self.descriptors)}")
        return [*found, *(f"shared memory segment {name}" for name in self.segments)]

    def as_dict(self) -> dict[str, Any]:
        """As result files hold it."""
        return {
            "processes_left": [asdict(process) for process in self.processes],
            "zombies_left": [asdict(process) for process in self.zombies],
            "descriptors_left": list(self.descriptors),
            "descriptor_growth": dict(self.descriptor_growth),
            "shared_memory_left": list(self.segments),
        }


def holdings() -> Holdings:
    """What this process holds now. Takes milliseconds: it looks at every process of the machine."""
    return Holdings(descendants(), open_descriptors(), segments())


def left_since(before: Holdings, workers: Collection[int] = ()) -> Leftovers:
    """What has come since `before` and is still there.

    Args:
        before: what was there.
        workers: process ids of workers, which may be dead by now, but may have left segments under their names.
    """
    here = descendants()
    left = describe_processes(here - before.processes)
    now = open_descriptors()
    ours = {os.getpid(), *workers, *(process.pid for process in here)}
    return Leftovers(
        processes=tuple(process for process in left if process.lives),
        zombies=tuple(process for process in left if not process.lives),
        descriptors=left_open(before.descriptors, now),
        descriptor_growth=grown_kinds(before.descriptors, now),
        segments=left_segments(before.segments, ours, segment_prefix(own_mark())),
    )
