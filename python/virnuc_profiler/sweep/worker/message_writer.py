# SPDX-License-Identifier: MIT
"""Messages from the model process to the supervisor: answers, progress and log records."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from dataclasses import asdict
from typing import Any, Final

from virnuc_profiler.capture.sampling.live_reading import latest_reading
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.sweep.worker.process_tree import kill_own_group
from virnuc_profiler.sweep.worker.protocol import MAX_TEXT, encode

READING_EVERY_S: Final = 1.0
"""Shortest time between two messages that name the newest reading of the GPU, which takes about 20 µs."""

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
        self._next = self._next_reading = 0.0
        self._tokens = 0
        self._batches = 0

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
            return
        self._batches += 1
        if now >= self._next and self._writer.has_room():  # a suspended supervisor must not block the run
            self._next = now + PROGRESS_EVERY_S
            fields = {"sequences": sequences, "tokens": self._tokens, "batches": self._batches}
            self._writer.send("progress", **fields, **self._reading(now))

    def _reading(self, now: float) -> dict[str, Any]:
        """Return the newest reading of the GPU, if it is time for one."""
        if now < self._next_reading:
            return {}
        self._next_reading = now + READING_EVERY_S
        reading = latest_reading()
        return {} if reading is None else {"gpu": asdict(reading)}


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
