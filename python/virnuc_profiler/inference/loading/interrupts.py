# SPDX-License-Identifier: MIT
"""Keep Ctrl-C out of critical sections, and away from DataLoader workers."""

from __future__ import annotations

import multiprocessing.forkserver
import multiprocessing.resource_tracker
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Final

from virnuc_profiler.inference.loading.owner_tag import owner_environment

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Hold back stop signals that have a Python handler until the block ends, then deliver the first of them.

    Signals without a Python handler keep their effect. Outside the main thread this does nothing, because Python
    delivers signals to the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []

    def postpone(number: int, _frame: FrameType | None) -> None:
        pending.append(number)

    previous = {number: handler for number in _STOP_SIGNALS if callable(handler := signal.getsignal(number))}
    _set_handlers(dict.fromkeys(previous, postpone))
    try:
        yield
    finally:
        _set_handlers(previous)
        if pending:
            signal.raise_signal(pending[0])


def _set_handlers(handlers: Mapping[signal.Signals, Callable[[int, FrameType | None], object]]) -> None:
    """Set all handlers or none: the signals are blocked meanwhile, so none arrives between two of them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, handlers)
    try:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_forkserver() -> None:
    """Start the process that workers are forked from, unless it runs already, with SIGINT blocked.

    A terminal sends Ctrl-C to the whole process group, but the main process ends the workers: a worker that is still
    starting would die with a traceback of its own. Workers inherit the signal mask, so it holds from their first
    moment.
    """
    multiprocessing.resource_tracker.ensure_running()  # first: it unblocks SIGINT in this thread when it starts
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with owner_environment():
            multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
