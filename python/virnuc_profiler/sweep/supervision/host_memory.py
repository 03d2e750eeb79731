# SPDX-License-Identifier: MIT
"""How often the kernel has killed a process for want of memory: the only witness of such a death."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def oom_kills(root: Path = Path("/")) -> int | None:
    """Processes killed for want of memory so far: in this control group, else in the system; None if nobody counts.

    Args:
        root: where the system's folders are; a test has its own.
    """
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if (count := _in_group(root / "sys/fs/cgroup", controllers.split(","), path.lstrip("/"))) is not None:
                return count
    return _counter(root / "proc/vmstat")


def _in_group(mount: Path, controllers: list[str], path: str) -> int | None:
    if "memory" in controllers:  # version 1; a container may see its own group as the root
        files = [mount / "memory" / path / "memory.oom_control", mount / "memory" / "memory.oom_control"]
    elif controllers == [""]:  # version 2
        files = [mount / path / "memory.events"]
    else:
        return None
    return next((count for file in files if (count := _counter(file)) is not None), None)


def _counter(file: Path) -> int | None:
    with suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return None
