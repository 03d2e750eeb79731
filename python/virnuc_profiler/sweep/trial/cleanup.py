# SPDX-License-Identifier: MIT
"""Clean up after a configuration, and verify that its workers, memory and other resources are gone."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any, Final

import psutil
import torch

from virnuc_profiler.errors import first_line
from virnuc_profiler.inference.loading.plain_loaders import end_loader_workers, loader_workers
from virnuc_profiler.sweep.machine.descendants import child_processes, descendants, describe_processes
from virnuc_profiler.sweep.machine.device_memory import DeviceMemory
from virnuc_profiler.sweep.machine.process_resources import ProcessResources, ResourceLeaks, is_leak, leaks_since
from virnuc_profiler.sweep.plan.cooldown import AUTO, COOLDOWN_S, Cooldown

__all__ = ["AUTO", "COOLDOWN_S", "CleanupReport", "Cooldown", "child_processes", "cleanup_between_runs"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """The state after clean-up.

    Attributes:
        workers_left: Process ids of workers that are still alive. None if clean-up could not tell which processes are
            the loader's workers.
        device_memory_before: Bytes that tensors held before the run. None on the CPU, or if the caller gave no value.
        device_memory_after: Bytes that tensors hold after clean-up. None on the CPU.
        leaked_device_bytes: Additional bytes after clean-up, at least 0. None if one of the two values is unknown.
        waited_s: Time spent waiting, in seconds.
        left: Processes, open files and shared memory that came with the run and still exist.
        checked: Whether clean-up looked for the resources in `left`.
    """

    workers_left: tuple[int, ...] | None
    device_memory_before: int | None
    device_memory_after: int | None
    leaked_device_bytes: int | None
    waited_s: float
    left: ResourceLeaks = field(default_factory=ResourceLeaks)
    checked: bool = False

    @property
    def leaked(self) -> bool:
        """Whether the run has leaked device memory."""
        return is_leak(self.leaked_device_bytes, self.device_memory_before)

    @property
    def clean(self) -> bool | None:
        """Whether the run left nothing; False if clean-up found a leak, None if it found none but did not look at all.

        That is so if it could not tell the loader's workers, had no snapshot of the resources before the run, or did
        not know how much device memory was held then.
        """
        if self.workers_left or self.leaked or self.left:
            return False
        memory_unknown = self.device_memory_after is not None and self.device_memory_before is None
        return None if self.workers_left is None or memory_unknown or not self.checked else True

    def as_dict(self) -> dict[str, Any]:
        """Return the report as result files store it."""
        return {
            "clean": self.clean,
            "workers_left": None if self.workers_left is None else list(self.workers_left),
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
    resources_before: ProcessResources | None = None,
    workers: Collection[int] | None = None,
) -> CleanupReport:
    """Close a run's loader and runner, free their memory, and check that nothing of the run is left.

    Errors while closing are logged as warnings, so that they do not replace the run's own error. Clean-up kills no
    process: the loader kills its own workers, and other processes are left to their owner.

    Args:
        dataloader: Loader with ``close()`` and ``worker_pids()``, as :func:`create_async_dataloader` returns it, a
            plain PyTorch ``DataLoader``, whose persistent workers and running passes are ended, or None.
        runner: Runner with ``close()``, as :class:`AsyncInferenceRunner` has it, or None.
        device: Device whose memory to check. By default, PyTorch's current CUDA device if CUDA is initialized, else
            the CPU.
        cooldown_s: Pause in seconds that gives workers time to end. 0 skips the pause; ``"auto"`` ends it when nothing
            is left, after two seconds at most.
        device_memory_before: Bytes that tensors held before the run. None skips the check for leaked device memory.
        processes_before: Process ids that ``child_processes`` returned before the run; all newer ones count as
            workers. None counts only the workers of the loader.
        resources_before: Snapshot from before the run, see ``snapshot_resources``. Clean-up then looks for newer
            processes (orphans of workers too), file descriptors and shared memory segments. None skips this check.
        workers: Process ids of all workers of the run, if the loader no longer knows them. None if unknown.

    Returns:
        The report. What was not checked is None in it, and so is ``clean`` then, unless a leak was found.

    Raises:
        TypeError: The loader and the runner are swapped.
    """
    if hasattr(runner, "worker_pids"):
        raise TypeError("cleanup_between_runs() got a loader as its runner: pass (dataloader, runner) in this order")
    known = loader_workers(dataloader)
    told_apart = not (known is None and workers is None and processes_before is None and resources_before is None)
    pids = {*(workers or ()), *(known or ())}
    if processes_before is not None:
        pids |= child_processes() - set(processes_before)
    # descendants() excludes unrelated processes that have reused the id of a worker.
    watched = frozenset(process for process in descendants() if process.pid in pids)
    close_quietly(runner)
    close_quietly(dataloader)
    end_loader_workers(dataloader)
    del dataloader, runner
    gc.collect()
    memory = DeviceMemory(_device(device))
    memory.release_cache()

    def look() -> CleanupReport:
        return _look(watched if told_apart else None, memory, device_memory_before, resources_before, pids)

    report, waited_s = _wait(look, cooldown_s)
    _log.debug("Cleanup complete: GPU cache cleared, GC collected, worker cooldown done")
    _warn(report)
    return replace(report, waited_s=waited_s)


def close_quietly(part: Any) -> None:
    """Call ``close()`` if `part` has it, and log an error instead of raising it."""
    if not hasattr(part, "close"):
        return
    try:
        part.close()
    except Exception as error:
        _log.warning("%s could not be closed: %s", type(part).__name__, first_line(error))


def _look(
    watched: frozenset[psutil.Process] | None,
    memory: DeviceMemory,
    memory_before: int | None,
    resources_before: ProcessResources | None,
    pids: Collection[int],
) -> CleanupReport:
    after = memory.allocated_bytes()
    alive = None if watched is None else [process for process in describe_processes(watched) if process.is_alive]
    return CleanupReport(
        workers_left=None if alive is None else tuple(process.pid for process in alive),
        device_memory_before=memory_before,
        device_memory_after=after,
        leaked_device_bytes=None if after is None or memory_before is None else max(0, after - memory_before),
        waited_s=0.0,
        left=ResourceLeaks() if resources_before is None else leaks_since(resources_before, pids),
        checked=resources_before is not None,
    )


def _wait(look: Callable[[], CleanupReport], cooldown_s: Cooldown) -> tuple[CleanupReport, float]:
    """Wait for the cooldown; return the last report and the seconds waited."""
    if cooldown_s != AUTO:
        started = time.monotonic()
        time.sleep(cooldown_s)
        waited_s = time.monotonic() - started
        return look(), waited_s
    looks: list[CleanupReport] = []

    def is_clean() -> bool:
        looks[:] = [look()]
        return looks[0].clean is not False

    waited_s = wait_until(is_clean, COOLDOWN_S)
    return looks[0], waited_s


def _warn(report: CleanupReport) -> None:
    if report.workers_left:
        _log.warning("workers are still alive after clean-up: %s", ", ".join(map(str, report.workers_left)))
    if report.leaked:
        _log.warning("%d more bytes of device memory are held after clean-up than before", report.leaked_device_bytes)
    for sentence in report.left.sentences():
        _log.warning("left after clean-up: %s", sentence)
    if report.left.unattributed_segments:
        _log.info(
            "shared memory that may be another program's came during the run: %s",
            ", ".join(report.left.unattributed_segments),
        )


def _device(device: Any) -> torch.device:
    if device is not None:
        return torch.device(device)
    in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.device("cuda", torch.cuda.current_device()) if in_use else torch.device("cpu")


_FIRST_PAUSE_S: Final = 0.005
_MAX_PAUSE_S: Final = 0.2
_PAUSE_GROWTH: Final = 1.6
"""Growth of the pauses between checks. Most resources are gone at once, and each check costs milliseconds."""


def wait_until(
    condition: Callable[[], bool],
    at_most_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Poll until a condition holds or the time is up, with growing pauses; return the seconds waited.

    Args:
        condition: Function that returns whether to stop waiting.
        at_most_s: Longest time to wait, in seconds.
        clock: Monotonic clock, in seconds.
        sleep: Function that pauses for a number of seconds.
    """
    started = clock()
    pause = _FIRST_PAUSE_S
    while not condition():
        remaining_s = at_most_s - (clock() - started)
        if remaining_s <= 0:
            break
        sleep(min(pause, remaining_s))
        pause = min(pause * _PAUSE_GROWTH, _MAX_PAUSE_S)
    return clock() - started
