# SPDX-License-Identifier: MIT
"""Clean-up after a configuration, and the proof that it worked."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any, Final

import psutil
import torch

from virnuc_profiler.sweep.machine.descendants import child_processes, descendants, describe_processes
from virnuc_profiler.sweep.machine.device_memory import DeviceMemory, first_line
from virnuc_profiler.sweep.machine.leak_limits import is_leak
from virnuc_profiler.sweep.machine.process_resources import Holdings, ResourceLeaks, left_since
from virnuc_profiler.sweep.plan.cooldown import AUTO, COOLDOWN_S, Cooldown

__all__ = ["AUTO", "COOLDOWN_S", "CleanupReport", "Cooldown", "child_processes", "cleanup_between_runs"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """What clean-up left behind.

    Attributes:
        workers_left: process ids of workers that still live.
        device_memory_before: bytes held by tensors before the run; None on the CPU or if it was not given.
        device_memory_after: bytes held by tensors after clean-up; None on the CPU.
        leaked_device_bytes: how much more that is, 0 if it is less; None if one of them is not known.
        waited_s: time spent waiting.
        left: processes, open files and shared memory that came with the run and are still there.
        checked: whether these were looked for.
    """

    workers_left: tuple[int, ...]
    device_memory_before: int | None
    device_memory_after: int | None
    leaked_device_bytes: int | None
    waited_s: float
    left: ResourceLeaks = field(default_factory=ResourceLeaks)
    checked: bool = False

    @property
    def leaked(self) -> bool:
        """Whether more device memory is held than a run may leave behind."""
        return is_leak(self.leaked_device_bytes, self.device_memory_before)

    @property
    def clean(self) -> bool:
        """Whether all that was looked for is gone."""
        return not (self.workers_left or self.leaked or self.left)

    def as_dict(self) -> dict[str, Any]:
        """As result files hold it."""
        return {
            "clean": self.clean,
            "workers_left": list(self.workers_left),
            "device_memory_before": self.device_memory_before,
            "device_memory_after": self.device_memory_after,
            "leaked_device_bytes": self.leaked_device_bytes,
            "waited_s": self.waited_s,
            **(self.left.as_dict() if self.checked else dict.fromkeys(ResourceLeaks().as_dict())),
        }


def cleanup_between_runs(
    dataloader: Any = None,
    runner: Any = None,
    *,
    device: Any = None,
    cooldown_s: Cooldown = COOLDOWN_S,
    device_memory_before: int | None = None,
    processes_before: Collection[int] | None = None,
    before: Holdings | None = None,
    workers: Collection[int] = (),
) -> CleanupReport:
    """Closes a run's loader and runner, frees what they held, and checks that it is gone.

    Nothing here raises: what cannot be closed is logged as a warning, and the run's own error stays the news. Nothing
    is killed here: the loader does that with its own workers, and other processes are for their owner to end.

    Args:
        dataloader: has ``close()`` and ``worker_pids()``, as :func:`create_async_dataloader` gives it; or None.
        runner: has ``close()``; or None.
        device: whose memory is looked at; by default PyTorch's current CUDA device if CUDA is in use.
        cooldown_s: the pause in which workers end; 0 skips it, ``"auto"`` ends it as soon as nothing is left.
        device_memory_before: bytes that tensors held before the run, to compare with.
        processes_before: process ids of :func:`child_processes` before the run: all others are its workers, also
            when the loader has forgotten them. None: only those that the loader still knows.
        before: what this process held before the run, see :func:`holdings`. All that came since is looked for:
            processes, also orphans of workers, open file descriptors, and shared memory segments. None: none of it.
        workers: process ids of workers that the loader no longer knows.
    """
    pids = {*workers, *worker_pids(dataloader)}
    if processes_before is not None:
        pids |= child_processes() - set(processes_before)
    # An id that was used again belongs to no descendant of this process, so what is not ours is not taken for a worker.
    watched = frozenset(process for process in descendants() if process.pid in pids)
    close_quietly(runner)
    close_quietly(dataloader)
    del dataloader, runner
    gc.collect()
    memory = DeviceMemory(_device(device))
    memory.release_cache()

    def look() -> CleanupReport:
        return _look(watched, memory, device_memory_before, before, pids)

    report, waited_s = _wait(look, cooldown_s)
    _log.debug("Cleanup complete: GPU cache cleared, GC collected, worker cooldown done")
    _warn(report)
    return replace(report, waited_s=waited_s)


def worker_pids(dataloader: Any) -> list[int]:
    """Process ids of a loader's workers; none of one that does not tell."""
    return list(dataloader.worker_pids()) if hasattr(dataloader, "worker_pids") else []


def close_quietly(part: Any) -> None:
    """Closes what can be closed; what goes wrong is logged."""
    if not hasattr(part, "close"):
        return
    try:
        part.close()
    except Exception as error:
        _log.warning("%s could not be closed: %s", type(part).__name__, first_line(error))


def _look(
    watched: frozenset[psutil.Process],
    memory: DeviceMemory,
    memory_before: int | None,
    before: Holdings | None,
    pids: Collection[int],
) -> CleanupReport:
    after = memory.allocated_bytes()
    return CleanupReport(
        workers_left=tuple(process.pid for process in describe_processes(watched) if process.lives),
        device_memory_before=memory_before,
        device_memory_after=after,
        leaked_device_bytes=None if after is None or memory_before is None else max(0, after - memory_before),
        waited_s=0.0,
        left=ResourceLeaks() if before is None else left_since(before, pids),
        checked=before is not None,
    )


def _wait(look: Callable[[], CleanupReport], cooldown_s: Cooldown) -> tuple[CleanupReport, float]:
    """The last look, and the seconds before it."""
    if cooldown_s != AUTO:
        started = time.monotonic()
        time.sleep(cooldown_s)
        waited_s = time.monotonic() - started
        return look(), waited_s
    looks: list[CleanupReport] = []

    def is_clean() -> bool:
        looks[:] = [look()]
        return looks[0].clean

    waited_s = wait_until(is_clean, COOLDOWN_S)
    return looks[0], waited_s


def _warn(report: CleanupReport) -> None:
    if report.workers_left:
        _log.warning("worker processes still live after clean-up: %s", ", ".join(map(str, report.workers_left)))
    if report.leaked:
        _log.warning("%d bytes of device memory are still held after clean-up", report.leaked_device_bytes)
    for sentence in report.left.sentences():
        _log.warning("still there after clean-up: %s", sentence)


def _device(device: Any) -> torch.device:
    if device is not None:
        return torch.device(device)
    in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.device("cuda", torch.cuda.current_device()) if in_use else torch.device("cpu")


_FIRST_S: Final = 0.005
_MAX_S: Final = 0.2
_GROWTH: Final = 1.6
"""The pauses between two looks: short at first, since most is gone at once; longer later, since looking costs too."""


def wait_until(
    condition: Callable[[], bool],
    at_most_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Looks again and again; returns the seconds that it took, whether the condition came or not."""
    started = clock()
    pause = _FIRST_S
    while not condition():
        left = at_most_s - (clock() - started)
        if left <= 0:
            break
        sleep(min(pause, left))
        pause = min(pause * _GROWTH, _MAX_S)
    return clock() - started
