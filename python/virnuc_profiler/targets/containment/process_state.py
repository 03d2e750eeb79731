# SPDX-License-Identifier: MIT
"""What a program may change in the process that runs it, and how it is put back."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals by which a user or a supervisor ends a run. SIGCHLD belongs to PyTorch's loaders, which set it."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """Settings of the whole process that outlive a run if nothing puts them back.

    Attributes:
        handlers: Handler of each signal that ends a run.
        start_method: How ``multiprocessing`` starts processes; None if nothing has chosen it yet.
        folder: Working folder.
    """

    handlers: Mapping[signal.Signals, Any]
    start_method: str | None
    folder: str

    @classmethod
    def now(cls) -> ProcessState:
        """Return the settings as they are."""
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        return cls(handlers, multiprocessing.get_start_method(allow_none=True), os.getcwd())  # noqa: PTH109

    def restore(self) -> list[str]:
        """Put back what differs, and return what did, in words. Signals are left alone outside the main thread."""
        now = ProcessState.now()
        changed = []
        in_main_thread = threading.current_thread() is threading.main_thread()
        for number, handler in self.handlers.items():
            if now.handlers[number] != handler and handler is not None and in_main_thread:
                signal.signal(number, handler)
                changed.append(f"the handler of {number.name}")
        if now.start_method != self.start_method:
            multiprocessing.set_start_method(self.start_method, force=True)
            changed.append(f"the start method of multiprocessing ({now.start_method})")
        if now.folder != self.folder:
            with suppress(OSError):  # it was removed meanwhile
                os.chdir(self.folder)
            changed.append(f"the working folder ({now.folder})")
        return changed
