# SPDX-License-Identifier: MIT
"""Notice Ctrl-C although foreign code may catch it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def noted_interrupts() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C has arrived since the block began. Its handler is called as before.

    Outside the main thread, and while Ctrl-C is ignored, nothing is noted.
    """
    arrived: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    handler = before

    def note(number: int, frame: FrameType | None) -> None:
        arrived.append(number)
        handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(arrived)
    finally:
        if signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, before)
