# SPDX-License-Identifier: MIT
"""A real pseudo-terminal with a program in it, and what a person sees on it."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

import pyte

DEADLINE_S = 120
_VIEW = re.compile(r"\x1b7\x1b\[J\x1b\[\?7l.*?\x1b\[\?7h\x1b8", re.DOTALL)
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[0-9A-Za-z])")


class Terminal:
    """Runs a program in a terminal of its own until it ends, or until something is seen.

    Args:
        command: The program and its arguments.
        columns: Width of the terminal.
        rows: Height of the terminal.
        environment: Variables that differ from those of this process; None removes one.
    """

    def __init__(self, command, columns=80, rows=24, **environment):
        variables = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **environment}
        for name in ("CI", "COLUMNS", "LINES", "NO_COLOR", "TTY_INTERACTIVE", "FORCE_COLOR"):
            if name not in environment:
                variables.pop(name, None)
        variables = {name: value for name, value in variables.items() if value is not None}
        self.columns = columns
        self.screen = pyte.HistoryScreen(columns, rows, history=100_000, ratio=0.5)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.status = None
        go, self._go = os.pipe()
        self.pid, self._descriptor = pty.fork()
        if not self.pid:
            os.close(self._go)
            os.read(go, 1)  # the size is set meanwhile
            os.close(go)
            os.execvpe(command[0], command, variables)
        os.close(go)
        self.resize(columns, rows)
        os.close(self._go)

    def resize(self, columns, rows=24):
        """Give the terminal another size, of which the program hears."""
        self.columns = columns
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def press(self, keys):
        """Press keys, such as ``\\x03`` for Ctrl-C."""
        os.write(self._descriptor, keys.encode())

    def until(self, seen):
        """Show what the program prints until `seen`, called with this terminal, is true; fail if it never is."""
        deadline = time.monotonic() + DEADLINE_S
        while not seen(self):
            assert time.monotonic() < deadline, f"never seen; the terminal shows {self.seen()}"
            if not self._read():
                assert seen(self), f"the program has ended; the terminal shows {self.seen()}"
                return

    def finish(self):
        """Show all that the program prints, and return its exit code; negative for a signal."""
        while self._read():
            pass
        return self.end()

    def end(self, number=None):
        """Wait for the end of the program, which a signal may bring about, and return its exit code."""
        if self.status is None:
            if number is not None:
                os.kill(self.pid, number)
                while self._read():
                    pass
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def hang_up(self):
        """Close the terminal's other end, as a lost connection does."""
        os.close(self._descriptor)
        self._descriptor = -1

    def close(self):
        """End the program if it still runs."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def seen(self):
        """Return all lines that a person can read by scrolling back, without blank ones at the end."""
        lines = [_text(line, self.screen.columns) for line in self.screen.history.top]
        return "\n".join([*lines, *map(str.rstrip, self.screen.display)]).rstrip().split("\n")

    def shown(self):
        """Return the lines on the screen."""
        return [line.rstrip() for line in self.screen.display]

    def printed(self):
        """Return the lines as the program printed them, before the terminal has broken any, and without live views."""
        text = _ESCAPES.sub("", _VIEW.sub("", self.raw.decode(errors="replace")))
        return text.replace("\r\n", "\n").split("\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _read(self):
        """Show what is printed within a moment; return whether more may come."""
        if not select.select([self._descriptor], [], [], 0.2)[0]:
            return True
        try:
            piece = os.read(self._descriptor, 1 << 16)
        except OSError:  # nobody has the terminal open any more
            return False
        self.raw += piece
        self._stream.feed(piece)
        return bool(piece)


def python(script, *arguments):
    """Return the command of a script."""
    return [sys.executable, "-c", script, *arguments]


def program(*arguments):
    """Return the command of this program."""
    return [sys.executable, "-m", "virnuc_profiler", *map(str, arguments)]


def _text(line, columns):
    return "".join(line[place].data for place in range(columns)).rstrip()
