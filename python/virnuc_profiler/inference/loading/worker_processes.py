# SPDX-License-Identifier: MIT
"""Watch DataLoader workers, end them within a time limit, and describe how they died.

Torch notices a worker's death late or never, waits up to 5 s for each worker in turn when it shuts down, and names no
signal. This module uses private parts of its iterator that have been the same since torch 2.0.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Final

from virnuc_profiler.inference.loading.watched_queue import WatchedQueue

_logger = logging.getLogger(__name__)

_FINISH_S: Final = 2.0
_TERMINATE_S: Final = 2.0
_KILL_S: Final = 2.0

_HINTS: Final[Mapping[int, str]] = {
    signal.SIGKILL: "by the kernel, if memory ran out",
    signal.SIGBUS: "a page of mapped memory was not available: /dev/shm is full, or a mapped file was truncated",
}
_NO_MAIN_GUARD: Final = (
    ' (its own output says why: if it mentions a "bootstrapping phase", move the code of your script under '
    'if __name__ == "__main__":)'
)


@dataclass(frozen=True, slots=True)
class DeadWorker:
    """A worker that ended before its work was done; ``str()`` gives ``worker 1 (pid 42) was killed by SIGKILL``.

    Attributes:
        number: Number of the worker, from 0.
        pid: Process id.
        exit_code: Exit code; -n if signal n killed the worker.
    """

    number: int
    pid: int | None
    exit_code: int

    def __str__(self) -> str:
        who = f"worker {self.number} (pid {self.pid})"
        if self.exit_code > 0:
            return f"{who} ended with exit code {self.exit_code}{_NO_MAIN_GUARD if self.exit_code == 1 else ''}"
        hint = _HINTS.get(-self.exit_code)
        return f"{who} was killed by {signal_name(-self.exit_code)}{f' ({hint})' if hint else ''}"


def signal_name(number: int) -> str:
    """Return the name of a signal, such as ``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def worker_processes(iterator: Any) -> list[BaseProcess]:
    """Return the worker processes of a torch DataLoader's iterator; empty if it reads in this process."""
    return list(getattr(iterator, "_workers", ()))


def watch_workers(iterator: Any) -> None:
    """Make a DataLoader's iterator fail as soon as a worker dies, even in the middle of a message."""
    iterator._data_queue = WatchedQueue(iterator._data_queue, iterator._workers, iterator._workers_status)


def dead_worker(iterator: Any) -> DeadWorker | None:
    """Return the first worker that died, or None."""
    for number, worker in enumerate(worker_processes(iterator)):
        worker.join(timeout=0.1)  # torch may notice the death before the exit code can be read
        if worker.exitcode:
            return DeadWorker(number, worker.pid, worker.exitcode)
    return None


def end_workers(iterator: Any) -> None:
    """Ask the workers to finish, then terminate them, then kill them, within 6 s in total. Never raises."""
    workers = worker_processes(iterator)
    if not workers:
        return
    try:
        _ask_to_finish(iterator)
        if _any_alive_after(workers, _FINISH_S):
            for worker in _alive(workers):
                worker.terminate()
            if _any_alive_after(workers, _TERMINATE_S):
                for worker in _alive(workers):
                    worker.kill()
                _any_alive_after(workers, _KILL_S)
        for worker in _alive(workers):
            _logger.warning("DataLoader worker %s (pid %s) did not end", worker.name, worker.pid)
        iterator._shutdown_workers()  # closes the queues; the workers it would wait for have ended
    except Exception:
        _logger.warning("ending the DataLoader workers failed", exc_info=True)


def _ask_to_finish(iterator: Any) -> None:
    iterator._workers_done_event.set()
    for number, available in enumerate(iterator._workers_status):
        if available:
            iterator._mark_worker_as_unavailable(number, shutdown=True)


def _any_alive_after(workers: Iterable[BaseProcess], seconds: float) -> bool:
    """Wait for all workers together, at most `seconds`; return whether any is still alive."""
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.join(timeout=max(0.0, deadline - time.monotonic()))
    return bool(_alive(workers))


def _alive(workers: Iterable[BaseProcess]) -> list[BaseProcess]:
    return [worker for worker in workers if worker.is_alive()]
