# SPDX-License-Identifier: MIT
"""Ctrl-C at the right moment: what has begun to be started, written or closed is finished first."""

from __future__ import annotations

import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

import psutil

_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Holds signals that Python code handles by stopping back until the block is left, then delivers them.

    A signal that has no Python handler keeps its effect. Outside the main thread nothing is held back: Python
    delivers no signals there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []

    def postpone(number: int, _frame: FrameType | None) -> None:
        pending.append(number)

    previous = {number: handler for number in _STOPPING if callable(handler := signal.getsignal(number))}
    _handle(dict.fromkeys(previous, postpone))
    try:
        yield
    finally:
        _handle(previous)
        if pending:
            signal.raise_signal(pending[0])


def _handle(handlers: Mapping[signal.Signals, Callable[[int, FrameType | None], object]]) -> None:
    """Sets all handlers or none: a signal between two of them waits."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, handlers)
    try:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_forkserver() -> None:
    """Starts the process that workers are forked from, if it does not run yet, deaf to Ctrl-C, and so its workers.

    A terminal sends Ctrl-C to all of them, but it is the main process that ends the workers: one that is still
    starting would die with a traceback of its own. The signal mask is inherited, so it holds from their first moment.
    """
    multiprocessing.resource_tracker.ensure_running()  # first: it unblocks SIGINT in this thread when it starts
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with marked_environment():
            multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


_VARIABLE: Final = "VIRNUC_PROFILER_OWNER"
_START_TIME: Final = 19
"""Place in /proc/PID/stat behind the name: field 22 of proc(5), in clock ticks since boot."""


def own_mark() -> str:
    """Names this process; with its start time, since process ids are used again."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()  # the name before may hold anything
    return f"{os.getpid()}@{fields[_START_TIME]}"


@contextmanager
def marked_environment() -> Iterator[None]:
    """What is started inside carries this process's mark, and so does all that it starts itself."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = own_mark()
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before


def marked_processes() -> set[psutil.Process]:
    """The processes of this user that carry this process's mark, wherever they hang."""
    entry = f"{_VARIABLE}={own_mark()}".encode()
    found = set()
    for pid in psutil.pids():
        with suppress(OSError, psutil.NoSuchProcess):  # ended meanwhile, or somebody else's
            if entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(psutil.Process(pid))
    return found
