# SPDX-License-Identifier: MIT
"""The queue on which DataLoader workers send, read in such a way that a worker's death is noticed at once.

Torch looks after its workers only when nothing has come for 5 s, or for the whole of its timeout. And a worker that is
killed in the middle of a message, which is where it usually is while the main process has better to do than to read,
leaves a reader that waits for the other half for ever.
"""

from __future__ import annotations

import fcntl
import os
import queue
import select
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

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
