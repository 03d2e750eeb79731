# SPDX-License-Identifier: MIT
"""Clean-up after a configuration, and the proof that it worked."""

from __future__ import annotations

import contextlib
import gc
import logging
import multiprocessing
import time
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

import psutil
import torch

from virnuc_profiler.sweep.device_memory import DeviceMemory, first_line

COOLDOWN_S: Final = 2.0
"""Pause in which worker processes end and the machine calms down."""

LEAK_SHARE: Final = 0.02
LEAK_BYTES: Final = 64 * 2**20
"""More than both is a leak. Below are the work spaces that cuBLAS allocates once and keeps."""

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
    """

    workers_left: tuple[int, ...]
    device_memory_before: int | None
    device_memory_after: int | None
    leaked_device_bytes: int | None
    waited_s: float

    @property
    def leaked(self) -> bool:
        """Whether more device memory is held than a run may leave behind."""
        allowed = max(LEAK_BYTES, LEAK_SHARE * (self.device_memory_before or 0))
        return (self.leaked_device_bytes or 0) > allowed

    def as_dict(self) -> dict[str, Any]:
        """As result files hold it."""
        return {**asdict(self), "workers_left": list(self.workers_left)}


def cleanup_between_runs(
    dataloader: Any = None,
    runner: Any = None,
    *,
    device: Any = None,
    cooldown_s: float = COOLDOWN_S,
    device_memory_before: int | None = None,
    processes_before: Collection[int] | None = None,
) -> CleanupReport:
    """Closes a run's loader and runner, frees what they held, and checks that it is gone.

    Nothing here raises: what cannot be closed is logged as a warning, and the run's own error stays the news.

    Args:
        dataloader: has ``close()`` and ``worker_pids()``, as :func:`create_async_dataloader` gives it; or None.
        runner: has ``close()``; or None.
        device: whose memory is looked at; by default PyTorch's current CUDA device if CUDA is in use.
        cooldown_s: the pause in which workers end; 0 skips it.
        device_memory_before: bytes that tensors held before the run, to compare with.
        processes_before: process ids of :func:`child_processes` before the run: all others are its workers, also
            when the loader has forgotten them. None: only those that the loader still knows.
    """
    pids = set(dataloader.worker_pids() if hasattr(dataloader, "worker_pids") else ())
    if processes_before is not None:
        pids |= child_processes() - set(processes_before)
    workers = _processes(pids)
    _close(runner)
    _close(dataloader)
    del dataloader, runner
    gc.collect()
    memory = DeviceMemory(_device(device))
    memory.release_cache()
    waited_s, left = _wait_for(workers, cooldown_s)
    _log.debug("Cleanup complete: GPU cache cleared, GC collected, worker cooldown done")
    after = memory.allocated_bytes()
    known = after is not None and device_memory_before is not None
    report = CleanupReport(
        workers_left=left,
        device_memory_before=device_memory_before,
        device_memory_after=after,
        leaked_device_bytes=max(0, after - device_memory_before) if known else None,  # type: ignore[operator]
        waited_s=waited_s,
    )
    if report.workers_left:
        _log.warning("worker processes still live after clean-up: %s", ", ".join(map(str, report.workers_left)))
    if report.leaked:
        _log.warning("%d bytes of device memory are still held after clean-up", report.leaked_device_bytes)
    return report


def child_processes() -> set[int]:
    """Process ids of the living processes that were started through ``multiprocessing``, by whatever method."""
    return {process.pid for process in multiprocessing.active_children() if process.pid is not None}


def _processes(pids: Iterable[int]) -> list[psutil.Process]:
    # Process objects know when they started, so a recycled process id is not taken for a worker.
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def _close(part: Any) -> None:
    if not hasattr(part, "close"):
        return
    try:
        part.close()
    except Exception as error:
        _log.warning("%s could not be closed: %s", type(part).__name__, first_line(error))


def _wait_for(workers: list[psutil.Process], cooldown_s: float) -> tuple[float, tuple[int, ...]]:
    started = time.monotonic()
    time.sleep(cooldown_s)
    return time.monotonic() - started, tuple(worker.pid for worker in workers if _lives(worker))


def _lives(worker: psutil.Process) -> bool:
    # Not psutil's wait(): it would take the exit code of a child away from whoever started it.
    try:
        return bool(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _device(device: Any) -> torch.device:
    if device is not None:
        return torch.device(device)
    in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.device("cuda", torch.cuda.current_device()) if in_use else torch.device("cpu")
