# SPDX-License-Identifier: MIT
"""Watches DataLoader workers, ends them within bounds, and says what became of them.

Torch offers none of it: it notices a death late or never, its own shutdown waits up to 5 s for each worker in turn,
and its report of a dead worker names no signal. The private parts of its iterator that are used here have been the
same from torch 2.0 on.
"""

import logging
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Final

from virnuc_profiler.inference.watched_queue import WatchedQueue

_logger = logging.getLogger(__name__)

_ASKED_S = 2.0
_TERMINATED_S = 2.0
_KILLED_S = 2.0

_HINTS: Final[Mapping[int, str]] = {
    signal.SIGKILL: "by the kernel, if memory ran out",
    signal.SIGBUS: "a page of mapped memory could not be had: /dev/shm is full, or a mapped file was cut short",
}


def worker_processes(iterator: Any) -> list[BaseProcess]:
    """The worker processes of a torch DataLoader's iterator; none where it runs in this process."""
    return list(getattr(iterator, "_workers", ()))


def watch_workers(iterator: Any) -> None:
    """Makes the iterator fail as soon as a worker dies, also in the middle of a message."""
    iterator._data_queue = WatchedQueue(iterator._data_queue, iterator._workers, iterator._workers_status)


def end_workers(iterator: Any) -> None:
    """Asks the workers to end, then terminates, then kills them: at most 6 s in all. Never raises."""
    workers = worker_processes(iterator)
    if not workers:
        return
    try:
        _ask(iterator)
        if _wait(workers, _ASKED_S):
            for worker in _alive(workers):
                worker.terminate()
            if _wait(workers, _TERMINATED_S):
                for worker in _alive(workers):
                    worker.kill()
                _wait(workers, _KILLED_S)
        for worker in _alive(workers):
            _logger.warning("DataLoader worker %s (pid %s) did not end", worker.name, worker.pid)
        iterator._shutdown_workers()  # closes the queues; its own waiting is over by now
    except Exception:
        _logger.warning("ending the DataLoader workers failed", exc_info=True)


_UNGUARDED: Final = (
    ' (what it printed says why: if it speaks of a "bootstrapping phase", put the code of your script under '
    'if __name__ == "__main__":)'
)


@dataclass(frozen=True, slots=True)
class DeadWorker:
    """A worker that ended before its work was done, as a sentence: ``worker 1 (pid 42) was killed by SIGKILL``.

    Attributes:
        number: of the worker, from 0.
        pid: its process id.
        exit_code: what it ended with; below 0: the signal that killed it.
    """

    number: int
    pid: int | None
    exit_code: int

    def __str__(self) -> str:
        who = f"worker {self.number} (pid {self.pid})"
        if self.exit_code > 0:
            return f"{who} ended with exit code {self.exit_code}{_UNGUARDED if self.exit_code == 1 else ''}"
        hint = _HINTS.get(-self.exit_code)
        return f"{who} was killed by {signal_name(-self.exit_code)}{f' ({hint})' if hint else ''}"


def dead_worker(iterator: Any) -> DeadWorker | None:
    """The first worker that died; None if none did."""
    for number, worker in enumerate(worker_processes(iterator)):
        worker.join(timeout=0.1)  # torch may know of it before its exit code is there
        if worker.exitcode:
            return DeadWorker(number, worker.pid, worker.exitcode)
    return None


def _ask(iterator: Any) -> None:
    iterator._workers_done_event.set()
    for number, available in enumerate(iterator._workers_status):
        if available:
            iterator._mark_worker_as_unavailable(number, shutdown=True)


def _wait(workers: Iterable[BaseProcess], seconds: float) -> bool:
    """Waits for all of them together; whether any is still alive."""
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.join(timeout=max(0.0, deadline - time.monotonic()))
    return bool(_alive(workers))


def _alive(workers: Iterable[BaseProcess]) -> list[BaseProcess]:
    return [worker for worker in workers if worker.is_alive()]


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
