# SPDX-License-Identifier: MIT
"""Keep Ctrl-C out of critical sections."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Final

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _no_announcement() -> None:
    """Say nothing of a signal that is held back."""


_announce: Callable[[], object] = _no_announcement


@contextmanager
def announced_interrupts(announce: Callable[[], object]) -> Iterator[None]:
    """Call a function when a stop signal is held back, so that a user sees at once that it has arrived.

    Args:
        announce: Function that a signal handler may call.
    """
    global _announce  # signals are the process's too
    before, _announce = _announce, announce
    try:
        yield
    finally:
        _announce = before


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
        _announce()

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
