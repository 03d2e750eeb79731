# SPDX-License-Identifier: MIT
"""A reader for the DataLoader's data queue that notices a dead worker at once, even in the middle of a message."""

from __future__ import annotations

import fcntl
import os
import queue
import select
import struct
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, Final

from virnuc_profiler.inference.loading.running_time import POLL_S, RunningClock, stopped_among

_SHORT: Final = struct.Struct("!i")
_LONG: Final = struct.Struct("!Q")
_LENGTH_FOLLOWS: Final = -1
_PIPE_BYTES: Final = 1 << 20
"""Linux's default limit for unprivileged users (``fs.pipe-max-size``). The default pipe of 64 KiB is smaller than a
chunk, so that a worker and the main process would wake each other several times per chunk."""


class WatchedQueue:
    """Replacement for the data queue of torch's DataLoader iterator, which only calls `get`.

    It reads whatever the pipe holds and splits it into messages itself, in the format of ``multiprocessing``'s
    ``Connection`` since Python 3.3: a 4-byte length (or -1 and an 8-byte length), then a pickle.

    Args:
        messages: The ``multiprocessing.Queue`` to read from; it must have no other reader.
        workers: The processes that write to it.
        expected: For each worker, whether it has more to send. Torch updates this list as workers finish; the end of a
            worker that has nothing more to send is ignored.
    """

    def __init__(self, messages: Any, workers: Sequence[BaseProcess], expected: Sequence[bool]) -> None:
        self._messages = messages
        self._pipe: int = messages._reader.fileno()
        self._expected = expected
        self._worker_of = {worker.sentinel: number for number, worker in enumerate(workers)}
        self._pids = [worker.pid for worker in workers if worker.pid is not None]
        self._received = bytearray()  # read from the pipe but not returned yet; it outlives a timeout
        _enlarge(self._pipe)
        self._poll = select.poll()
        for descriptor in (self._pipe, *self._worker_of):
            self._poll.register(descriptor, select.POLLIN)

    def get(self, timeout: float | None = None) -> Any:
        """Return the next message.

        Args:
            timeout: Longest wait in seconds, without the time in which a worker or this process was stopped; None waits
                without limit.

        Raises:
            queue.Empty: No message arrived in time, or a worker died that had more to send. Torch then checks which.
            EOFError: All workers have closed the pipe.
        """
        self._wait(0)  # messages read ahead may last for seconds, so look for dead workers first
        clock = RunningClock(lambda: stopped_among(self._pids))
        deadline = None if timeout is None else clock() + timeout
        header = _SHORT.size
        self._receive(header, deadline, clock)
        (length,) = _SHORT.unpack_from(self._received)
        if length == _LENGTH_FOLLOWS:
            header += _LONG.size
            self._receive(header, deadline, clock)
            (length,) = _LONG.unpack_from(self._received, _SHORT.size)
        end = header + length
        self._receive(end, deadline, clock)
        try:
            with memoryview(self._received) as received, received[header:end] as message:
                return ForkingPickler.loads(message)
        finally:
            del self._received[:end]
            self._messages._sem.release()  # as Queue.get() does: the semaphore counts the queue's messages

    def _receive(self, size: int, deadline: float | None, clock: RunningClock) -> None:
        """Read from the pipe until at least `size` bytes are buffered."""
        while len(self._received) < size:
            left_s = None if deadline is None else max(0.0, deadline - clock())
            ready = self._wait(None if left_s is None else 1e3 * min(left_s, POLL_S))
            if not ready and deadline is not None and clock() >= deadline:
                raise queue.Empty
            if self._pipe in ready:
                piece = os.read(self._pipe, _PIPE_BYTES)
                if not piece:
                    raise EOFError("the DataLoader's workers are gone")
                self._received += piece

    def _wait(self, timeout_ms: float | None) -> set[int]:
        """Wait for the pipe or a worker's end; return the descriptors that are ready, none after a timeout.

        Raises:
            queue.Empty: A worker died that had more to send.
        """
        ready = {descriptor for descriptor, _ in self._poll.poll(timeout_ms)}
        for ended in ready - {self._pipe}:
            if self._expected[self._worker_of[ended]]:
                raise queue.Empty
            self._poll.unregister(ended)
        return ready


def _enlarge(pipe: int) -> None:
    """Enlarge a pipe if the system's and the user's limits allow it."""
    with suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
