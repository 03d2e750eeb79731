# SPDX-License-Identifier: MIT
"""The open file descriptors of this process, by what they are."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from typing import Final

SHARED_MEMORY: Final = "shared memory"

_DRIVERS: Final = frozenset({"device", "eventfd", "eventpoll", "inotify", "other"})
"""Kinds that CUDA, NVML and Python's own threads open when they like, and keep: more of them is no leak of a run."""

_SEGMENTS: Final = ("/dev/shm/", "/run/shm/", "/memfd:", "/SYSV")  # noqa: S108  where Linux has them
_ANONYMOUS = re.compile(r"anon_inode:\[?(\w+)")


def open_descriptors() -> dict[int, str]:
    """What each descriptor refers to, as /proc/self/fd has it (``/tmp/a.fasta``, ``pipe:[4711]``).

    Without those by which `multiprocessing` holds its own lasting processes.
    """
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  a Path a descriptor is what this must not cost
        with suppress(OSError):  # that of this listing is gone by now
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
    for number in _lasting():
        found.pop(number, None)
    return found


def kind_of(target: str) -> str:
    """``socket``, ``pipe``, ``shared memory``, ``file``, ``device``, ``eventfd``, ``eventpoll`` or another."""
    if target.startswith(_SEGMENTS):
        return SHARED_MEMORY
    if target.startswith("/dev/"):
        return "device"
    if target.startswith("/"):
        return "file"
    if (anonymous := _ANONYMOUS.match(target)) is not None:
        return anonymous[1]
    kind = target.partition(":")[0]
    return kind if kind in ("socket", "pipe") else "other"


def count_kinds(descriptors: Mapping[int, str]) -> Counter[str]:
    """How many there are of each kind."""
    return Counter(map(kind_of, descriptors.values()))


def grown_kinds(before: Mapping[int, str], after: Mapping[int, str]) -> dict[str, int]:
    """By how many the kinds grew of which there are more."""
    return dict(sorted((count_kinds(after) - count_kinds(before)).items()))


def left_open(before: Mapping[int, str], after: Mapping[int, str]) -> tuple[str, ...]:
    """What was opened since and is still open, of the kinds that grew, without those of the drivers."""
    leaking = grown_kinds(before, after).keys() - _DRIVERS
    new = Counter(after.values()) - Counter(before.values())
    return tuple(sorted(target for target in new.elements() if kind_of(target) in leaking))


def _lasting() -> set[int]:
    owners = ((forkserver, "_forkserver", "_forkserver_alive_fd"), (resource_tracker, "_resource_tracker", "_fd"))
    numbers = (getattr(getattr(module, owner, None), attribute, None) for module, owner, attribute in owners)
    return {number for number in numbers if isinstance(number, int)}
