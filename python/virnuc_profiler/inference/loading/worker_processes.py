# SPDX-License-Identifier: MIT
"""Watches DataLoader workers, ends them within bounds, and says what became of them.

Torch offers none of it: it notices a death late or never, its own shutdown waits up to 5 s for each worker in turn,
and its report of a dead worker names no signal. The private parts of its iterator that are used here have been the
same from torch 2.0 on.
"""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import select
import signal
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, Final

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


_SHORT = struct.Struct("!i")
_LONG = struct.Struct("!Q")
_LENGTH_FOLLOWS = -1
_PIPE_BYTES = 1 << 20
"""The most that Linux gives to everyone unless it is told otherwise. Ordinarily a pipe holds 64 KiB, which is less than
a chunk: a worker and the main process then wake each other up several times for each chunk."""


class WatchedQueue:
    """Stands in for torch's data queue, as far as torch reads from it.

    It reads messages from the pipe itself, as much as there is at a time, in the form in which `multiprocessing` has
    sent them since Python 3.3: a length in 4 bytes (or -1 and a length in 8), and a pickle.

    Args:
        messages: the ``multiprocessing.Queue``; nobody else may read from it.
        workers: the processes that write.
        expected: for each worker, whether it has more to send; one that ends when it has not is no news. Torch changes
            this list as workers come to their end.
    """

    def __init__(self, messages: Any, workers: Sequence[BaseProcess], expected: Sequence[bool]) -> None:
        self._messages = messages
        self._pipe: int = messages._reader.fileno()
        self._expected = expected
        self._worker_of = {worker.sentinel: number for number, worker in enumerate(workers)}
        self._received = bytearray()  # what was not asked for yet; outlives a timeout
        _enlarge(self._pipe)
        self._poll = select.poll()
        for descriptor in (self._pipe, *self._worker_of):
            self._poll.register(descriptor, select.POLLIN)

    def get(self, timeout: float | None = None) -> Any:
        """The next message.

        Args:
            timeout: seconds; None for ever.

        Raises:
            queue.Empty: nothing came in time, or a worker is dead that had more to send, whatever others have sent.
                Torch then looks which.
        """
        self._look(0)  # what was read ahead may last for seconds
        deadline = None if timeout is None else time.monotonic() + timeout
        header = _SHORT.size
        self._receive(header, deadline)
        (length,) = _SHORT.unpack_from(self._received)
        if length == _LENGTH_FOLLOWS:
            header += _LONG.size
            self._receive(header, deadline)
            (length,) = _LONG.unpack_from(self._received, _SHORT.size)
        end = header + length
        self._receive(end, deadline)
        try:
            with memoryview(self._received) as received, received[header:end] as message:
                return ForkingPickler.loads(message)
        finally:
            del self._received[:end]
            self._messages._sem.release()  # as its own get() does: the queue counts what is in it

    def _receive(self, size: int, deadline: float | None) -> None:
        """Reads until at least `size` bytes from the start of the next message on are there."""
        while len(self._received) < size:
            left_ms = None if deadline is None else max(0.0, 1e3 * (deadline - time.monotonic()))
            ready = self._look(left_ms)
            if not ready:
                raise queue.Empty
            if self._pipe in ready:
                piece = os.read(self._pipe, _PIPE_BYTES)
                if not piece:
                    raise EOFError("the DataLoader's workers are gone")
                self._received += piece

    def _look(self, timeout_ms: float | None) -> set[int]:
        """Waits for news and returns the descriptors that have some; none if none came in time.

        Raises:
            queue.Empty: a worker is dead that had more to send.
        """
        ready = {descriptor for descriptor, _ in self._poll.poll(timeout_ms)}
        for ended in ready - {self._pipe}:
            if self._expected[self._worker_of[ended]]:
                raise queue.Empty
            self._poll.unregister(ended)
        return ready


def _enlarge(pipe: int) -> None:
    """Enlarges a pipe where Linux allows it: its limit may be lower, and so may the rest of what a user may have."""
    with suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
