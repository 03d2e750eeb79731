# SPDX-License-Identifier: MIT
"""List the open file descriptors of this process, and classify them by kind."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from typing import Any, Final

SHARED_MEMORY: Final = "shared memory"

_NOT_LEAKS: Final = frozenset({"device", "eventfd", "eventpoll", "inotify", "other"})
"""Kinds that CUDA, NVML and Python's threads open at any time and keep open; their growth is no leak of a run."""

_PERSISTENT: Final = (
    (forkserver, "_forkserver", "_forkserver_alive_fd"),
    (resource_tracker, "_resource_tracker", "_fd"),
)
"""Where `multiprocessing` keeps the descriptors that connect it to its helpers: module, object and attribute."""

_SEGMENTS: Final = ("/dev/shm/", "/run/shm/", "/memfd:", "/SYSV")  # noqa: S108  where Linux keeps shared memory
_ANONYMOUS = re.compile(r"anon_inode:\[?(\w+)")


def open_descriptors() -> dict[int, str]:
    """Return the target of each descriptor as /proc/self/fd shows it, such as ``/tmp/a.fasta`` or ``pipe:[4711]``.

    Descriptors that connect `multiprocessing` to its forkserver and resource tracker are left out.
    """
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  a Path per descriptor would be slow
        with suppress(OSError):  # the descriptor of this listing itself is closed by now
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
    for module, owner, attribute in _PERSISTENT:
        number: Any = getattr(getattr(module, owner, None), attribute, None)  # None before the helper is started
        found.pop(number, None)
    return found


def descriptor_kind(target: str) -> str:
    """Classify a target: ``socket``, ``pipe``, ``shared memory``, ``file``, ``device``, an anonymous inode's name, ...

    Args:
        target: Target of a descriptor, as :func:`open_descriptors` returns it.

    Returns:
        The kind. An anonymous inode's kind is its name, such as ``inotify``; everything else is ``other``.
    """
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


def count_by_kind(descriptors: Mapping[int, str]) -> Counter[str]:
    """Count the descriptors of each kind."""
    return Counter(map(descriptor_kind, descriptors.values()))


def grown_kinds(before: Mapping[int, str], after: Mapping[int, str]) -> dict[str, int]:
    """Return how many more descriptors each kind has, for the kinds that grew."""
    return dict(sorted((count_by_kind(after) - count_by_kind(before)).items()))


def leaked_descriptors(before: Mapping[int, str], after: Mapping[int, str], grown: Collection[str]) -> tuple[str, ...]:
    """Return the targets of leaked descriptors: opened since `before`, still open, and of a kind that grew.

    Args:
        before: Descriptors before the run, as :func:`open_descriptors` returned them.
        after: Descriptors now.
        grown: Kinds that grew, see :func:`grown_kinds`.
    """
    leaking = frozenset(grown) - _NOT_LEAKS
    new = Counter(after.values()) - Counter(before.values())
    return tuple(sorted(target for target in new.elements() if descriptor_kind(target) in leaking))
