# SPDX-License-Identifier: MIT
"""Lines at the bottom of a terminal that are drawn again and again, below what is printed meanwhile.

Between two drawings the cursor waits on an empty line above the view, and stays visible. What any program prints begins
there, and a drawing only erases what is below the cursor. So nothing that is printed is lost, a terminal may be
resized, and whatever ends the process leaves a terminal that works.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Final, TextIO

from virnuc_profiler.cli.live.stream_wrapper import StreamWrapper
from virnuc_profiler.cli.live.suspension import suspension
from virnuc_profiler.cli.terminal import is_quiet, is_terminal
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts

EVERY_S: Final = 0.5
"""Pause between two drawings."""

View = Callable[[int], str]
"""Returns the lines of a view for a number of columns, with no line longer than that."""

_MIN_ROWS: Final = 4
_MIN_COLUMNS: Final = 20
_AFTER_LINES_S: Final = 0.05

_ERASE_BELOW: Final = "\x1b[J"
_DOWN: Final = "\x1bD"
_UP: Final = "\x1b[A"
_SAVE: Final = "\x1b7"
_RESTORE: Final = "\x1b8"
_NO_WRAP: Final = "\x1b[?7l"
_WRAP: Final = "\x1b[?7h"

_log = logging.getLogger(__name__)


def shows_live() -> bool:
    """Return whether a live view may be shown: stderr is a terminal that can move its cursor, with a person before it.

    ``--quiet``, ``TERM=dumb``, ``CI`` and ``TTY_INTERACTIVE=0`` turn it off.
    """
    return (
        not is_quiet()
        and is_terminal(sys.stderr)
        and os.environ.get("TERM", "dumb").lower() not in ("", "dumb", "unknown")
        and os.environ.get("CI", "").lower() in ("", "0", "false")
        and os.environ.get("TTY_INTERACTIVE", "1") != "0"
    )


class Screen:
    """Draws a view on the terminal of stderr while a block runs, twice per second, from a thread of its own.

    What the process prints meanwhile on the same terminal is printed above the view.

    Args:
        view: Returns the lines of the view.
        every_s: Pause between two drawings in seconds.

    Attributes:
        lock: Held while a thread writes to the terminal.
    """

    def __init__(self, view: View, every_s: float = EVERY_S) -> None:
        self._view = view
        self._every_s = every_s
        self._terminal = sys.stderr
        self._descriptor = sys.stderr.fileno()
        self._streams = (sys.stdout, sys.stderr)
        self.lock = threading.RLock()
        self._erased = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._draw_often, name="live-view", daemon=True)
        self._suspension = ExitStack()
        self._drawn = False
        self._broken = False
        self._error: Exception | None = None

    def __enter__(self) -> Screen:
        with deferred_interrupts():
            self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with deferred_interrupts():
            self._end()

    def draw(self) -> None:
        """Draw the view as it is now, unless the process is in the background of its terminal."""
        size = self._size()
        if self._broken or size is None or not self._in_foreground():
            return
        columns, rows = size
        if columns < _MIN_COLUMNS or rows < _MIN_ROWS:
            self._erase()
            return
        try:
            lines = self._view(columns).split("\n")[: rows - 2]  # without the lock, since it may log something
        except Exception as error:  # a view must not end what it shows
            self._error, self._broken = error, True
            return
        down, up = _DOWN * len(lines), _UP * len(lines)
        text = "\r\n".join(["", *lines])
        with self.lock:
            self._write(f"{down}{up}{_SAVE}{_ERASE_BELOW}{_NO_WRAP}{text}{_WRAP}{_RESTORE}")
            self._drawn = True

    def print_above(self, stream: TextIO, text: str) -> None:
        """Print whole lines above the view, which is drawn again a moment later: once after many lines.

        Args:
            stream: Stream that they belong to.
            text: The lines, with their ends.
        """
        with self.lock:
            self._erase()
            stream.write(text)
            stream.flush()
            self._erased.set()

    def _begin(self) -> None:
        if is_terminal(sys.stdout) and _same_device(sys.stdout, sys.stderr):
            sys.stdout = _AboveScreen(sys.stdout, self)
        sys.stderr = _AboveScreen(sys.stderr, self)
        self._suspension.enter_context(suspension(self._erase))
        self.draw()
        self._thread.start()

    def _end(self) -> None:
        self._ended = True
        self._erased.set()
        self._thread.join()
        self._suspension.close()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, _AboveScreen):
                with suppress(OSError, ValueError):
                    stream.finish()
        sys.stdout, sys.stderr = self._streams
        self._erase()
        if self._error is not None:
            _log.debug("the live view could not be drawn", exc_info=self._error)

    def _draw_often(self) -> None:
        while not self._ended:
            if self._erased.wait(self._every_s):  # something was printed
                self._erased.clear()
                time.sleep(_AFTER_LINES_S)
            if not self._ended:
                self.draw()

    def _erase(self) -> None:
        with self.lock:
            if self._drawn and not self._broken and self._in_foreground():
                self._write(_ERASE_BELOW)
            self._drawn = False

    def _size(self) -> os.terminal_size | None:
        try:
            return os.get_terminal_size(self._descriptor)
        except OSError:
            return None

    def _in_foreground(self) -> bool:
        """Whether this process may write to its terminal now; a job in the background would be stopped, or disturb."""
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:  # the terminal does not control this process, so that nothing can be in the background
            return True

    def _write(self, text: str) -> None:
        encoding = getattr(self._terminal, "encoding", None) or "utf-8"
        rest = memoryview(text.encode(encoding, "replace"))
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except BlockingIOError:  # a slow terminal that does not let us wait misses a drawing
            return
        except OSError:  # the terminal is gone
            self._broken = True


class _AboveScreen(StreamWrapper):
    """A standard stream while a view is shown: its lines are printed above the view.

    Args:
        stream: The stream.
        screen: The view.
    """

    def __init__(self, stream: TextIO, screen: Screen) -> None:
        super().__init__(stream)
        self._screen = screen

    def write(self, text: str, /) -> int:
        """Print the lines that are complete.

        Args:
            text: Text to print.
        """
        with self._screen.lock:
            whole, end, rest = (self._rest + text).rpartition("\n")
            self._rest = rest[max(0, rest.rfind("\r")) :]  # of a bar that draws itself over, the newest state
            if end:
                self._screen.print_above(self._stream, whole + end)
        return len(text)

    def finish(self) -> None:
        """Print what does not end with a line."""
        with self._screen.lock:
            rest, self._rest = self._rest, ""
            if rest:
                self._screen.print_above(self._stream, rest)

    def flush(self) -> None:
        """Flush the stream; an unfinished line waits for its end."""
        self._stream.flush()


def _same_device(one: TextIO, other: TextIO) -> bool:
    return os.fstat(one.fileno()).st_rdev == os.fstat(other.fileno()).st_rdev
