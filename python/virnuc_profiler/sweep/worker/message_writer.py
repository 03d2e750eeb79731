# SPDX-License-Identifier: MIT
"""Messages from the model process to the supervisor: answers, progress and log records."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from typing import Any, Final

from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.sweep.worker.process_tree import kill_own_group
from virnuc_profiler.sweep.worker.protocol import MAX_TEXT, encode

PROGRESS_EVERY_S: Final = 0.1
"""Shortest time between two progress messages. A message costs about 10 µs, and a small model may finish thousands of
batches per second."""


class MessageWriter:
    """Writes messages to the supervisor's pipe from any thread.

    Args:
        descriptor: File descriptor of the pipe's write end.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message; kill this process and its workers if the supervisor is gone.

        Args:
            kind: Kind of the message.
            fields: JSON-serializable fields of the message.
        """
        line = memoryview(encode(kind, **fields))
        with deferred_interrupts(), self._lock:
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except BrokenPipeError:
                kill_own_group()

    def has_room(self) -> bool:
        """Whether a short message can be sent without waiting for the supervisor."""
        pipe = select.poll()
        pipe.register(self._descriptor, select.POLLOUT)
        return bool(pipe.poll(0))


class ProgressMessages:
    """Sends the progress of a trial, at most every PROGRESS_EVERY_S.

    Args:
        writer: Writer of the messages.
    """

    def __init__(self, writer: MessageWriter) -> None:
        self._writer = writer
        self._next = 0.0
        self._tokens = 0

    def count_tokens(self, tokens: int) -> None:
        """Note the number of finished tokens, which the next message names.

        Args:
            tokens: Number of finished tokens.
        """
        self._tokens = tokens

    def __call__(self, sequences: int) -> None:
        """Send the number of finished sequences; 0 says that the trial begins to measure.

        Args:
            sequences: Number of finished sequences.
        """
        now = time.monotonic()
        if not sequences:
            self._writer.send("progress", sequences=0)
        elif now >= self._next and self._writer.has_room():  # a suspended supervisor must not block the run
            self._next = now + PROGRESS_EVERY_S
            self._writer.send("progress", sequences=sequences, tokens=self._tokens)


class LogMessages(logging.Handler):
    """Sends log records to the supervisor, which logs them as its own.

    Args:
        writer: Writer of the messages.
    """

    def __init__(self, writer: MessageWriter) -> None:
        super().__init__()
        self._writer = writer
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Send the formatted record.

        Args:
            record: Record to send.
        """
        try:
            text = self.format(record)[:MAX_TEXT]
        except Exception:
            self.handleError(record)
        else:
            self._writer.send("log", level=record.levelno, text=text)
