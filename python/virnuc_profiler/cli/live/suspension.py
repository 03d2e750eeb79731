# SPDX-License-Identifier: MIT
"""Ctrl-Z while a live view is shown: the view leaves the terminal before the shell comes back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def suspension(erase: Callable[[], None]) -> Iterator[None]:
    """Erase a view when the process is suspended by Ctrl-Z; it is drawn again by itself once the process continues.

    Does nothing outside of the main thread, or where something else handles the signal.

    Args:
        erase: Erases the view.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL:
        yield
        return

    def suspend(number: int, _frame: object) -> None:
        erase()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # stops here, until the process is continued
        signal.signal(number, suspend)

    signal.signal(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
