# SPDX-License-Identifier: MIT
"""Standard output on a terminal: every line fits it, and nothing that is printed can control it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from virnuc_profiler.cli.live.stream_wrapper import StreamWrapper
from virnuc_profiler.cli.terminal import fit, is_terminal, line_width, safe


class TerminalText(StreamWrapper):
    """Passes text on to a terminal line by line, each broken to its width and with control characters escaped.

    Args:
        stream: Stream of the terminal.
    """

    def write(self, text: str, /) -> int:
        """Pass on the lines that are complete; the rest follows with its end or with a flush.

        Args:
            text: Text to print.
        """
        *lines, self._rest = (self._rest + text).split("\n")
        if lines:
            width = line_width()
            self._stream.write("".join(f"{fit(safe(line), width)}\n" for line in lines))
        return len(text)

    def flush(self) -> None:
        """Pass on what is left, and flush the stream."""
        if self._rest:
            rest, self._rest = self._rest, ""
            self._stream.write(safe(rest))
        self._stream.flush()


@contextmanager
def terminal_output() -> Iterator[None]:
    """Let standard output fit the terminal while a command runs; a file or pipe gets what is printed as it is."""
    before = sys.stdout
    if not is_terminal(before):
        yield
        return
    shown = TerminalText(before)
    sys.stdout = shown
    try:
        yield
    finally:
        if sys.stdout is shown:
            sys.stdout = before
        with suppress(OSError, ValueError):  # the terminal is gone
            shown.flush()
