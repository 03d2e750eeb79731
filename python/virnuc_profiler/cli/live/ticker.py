# SPDX-License-Identifier: MIT
"""Call a function now and then from a thread while a block runs, and once more at its end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final

_END_S: Final = 5.0
"""Longest wait for the last call, which may write to a network file system that does not answer."""

_log = logging.getLogger(__name__)


class Ticker:
    """Calls a function from a thread of its own. An error of the function ends the calls, and nothing else.

    Args:
        action: The function; its argument says whether this call is the last one.
        every_s: Pause between two calls in seconds.
    """

    def __init__(self, action: Callable[[bool], None], every_s: float) -> None:
        self._action = action
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="ticker", daemon=True)

    def __enter__(self) -> Ticker:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(_END_S)

    def _tick(self) -> None:
        try:
            self._action(False)
            while not self._ended.wait(self._every_s):
                self._action(False)
            self._action(True)
        except Exception as error:  # a report on a job must not end it
            _log.warning("the progress is not told any further: %s: %s", type(error).__name__, error)
