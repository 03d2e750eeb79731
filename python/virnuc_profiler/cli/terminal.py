# SPDX-License-Identifier: MIT
"""The terminal: its width, lines that fit it, and text of unknown origin that must not control it.

On a terminal, lines that are longer than it is wide are broken between words. In files and pipes they stay whole, so
that they can be searched for; tables and pages are 80 columns wide there, or as many as the variable COLUMNS says.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TextIO

MIN_WIDTH: Final = 60
"""Narrower terminals break the lines themselves."""

MIN_LINE: Final = 20
"""Narrower terminals break sentences themselves."""

_VALUE: Final = re.compile(r" *[^ :][^:]*:  +")
"""A name, a colon, and spaces that align values."""

_CONTINUED: Final = " \\"
"""End of a line of a command that the next line continues."""

_quiet = False

_FIRST_S: Final = 2.0
"""Work that is shorter says nothing."""
_EVERY_S: Final = 5.0


def terminal_width() -> int:
    """Return the number of columns that output should fit: those of COLUMNS or the terminal, or else 80."""
    return max(MIN_WIDTH, shutil.get_terminal_size().columns)


def line_width() -> int:
    """Return the number of columns at which sentences are broken, which may be fewer than those of a table."""
    return max(MIN_LINE, shutil.get_terminal_size().columns)


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream writes to a terminal; a closed one does not.

    Args:
        stream: Stream to look at.
    """
    try:
        return stream.isatty()
    except (OSError, ValueError):
        return False


def safe(text: str) -> str:
    """Return a text with everything escaped that could control a terminal, except for its ends of lines.

    Escape sequences, other control characters, and characters that change the direction of text are shown as Python
    writes them in strings.

    Args:
        text: Text of unknown origin.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        one if one == "\n" or one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )


def cells(text: str) -> int:
    """Return how many columns a printable text takes: two for a wide character, none for an accent of its own.

    Args:
        text: Text of one line.
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def fit(line: str, width: int) -> str:
    """Return a line that is broken between words where it is too long; a longer word stays whole, as do tables.

    Args:
        line: Text of one line.
        width: Columns that it may take.
    """
    if cells(line) <= width or " | " in line or line.endswith(_CONTINUED):
        return line
    text = line.lstrip(" ")
    start = line[: len(line) - len(text)]
    value = _VALUE.match(line)  # which the next lines continue, below its own column
    indent = " " * (value.end() if value and value.end() <= width // 2 else min(len(start) + 2, width // 2))
    lines = []
    first, *others = text.split(" ")
    current = start + first
    for word in others:
        longer = f"{current} {word}"
        if word and cells(longer) > width:
            lines.append(current.rstrip(" "))
            current = indent + word
        else:
            current = longer
    return "\n".join([*lines, current])


def command_line(words: Sequence[str], label: str = "") -> str:
    """Return a command that can be copied: one line, or on a terminal as many as it takes, joined as shells do.

    Args:
        words: The command and its arguments.
        label: What stands before the command, such as ``All figures: ``.
    """
    quoted = [safe(shlex.quote(word)).replace("\n", "\\n") for word in words]
    line = label + " ".join(quoted)
    if not is_terminal(sys.stdout) or cells(line) <= (width := line_width()):
        return line
    lines = [label]
    for word in quoted:
        if lines[-1].strip() and cells(lines[-1]) + 1 + cells(word) + len(_CONTINUED) > width:
            room = width - cells(word) - len(_CONTINUED)
            lines.append(" " * max(0, min(4, room)) + word)
        else:
            lines[-1] += word if lines[-1] in ("", label) else f" {word}"
    return f"{_CONTINUED}\n".join(lines)


def say(text: str) -> None:
    """Print lines on stderr: what a command is doing, warnings and errors.

    Args:
        text: One or more lines, of which some may name what a user has named.
    """
    stream, shown = sys.stderr, safe(text)
    if is_terminal(stream):
        width = line_width()
        shown = "\n".join(fit(line, width) for line in shown.split("\n"))
    with suppress(OSError, ValueError):  # a closed stderr must not end a run
        print(shown, file=stream, flush=True)


def set_quiet(quiet: bool) -> None:
    """Turn the lines on the progress of a command off or on.

    Args:
        quiet: Whether they are off.
    """
    global _quiet  # a property of the process, as its standard streams are
    _quiet = quiet


def is_quiet() -> bool:
    """Return whether nothing is said of the progress of a command."""
    return _quiet


def say_progress(line: str) -> None:
    """Print a line on the progress of a command on stderr, unless the user wants none.

    Args:
        line: The line.
    """
    if not _quiet:
        say(line)


class WorkLines:
    """Prints what is being done on stderr, after two seconds and then every five.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock() + _FIRST_S

    def __call__(self, what: str) -> None:
        """Say what is being done now, unless a line was printed a moment ago.

        Args:
            what: A few words, such as "reading strings, 20,000 rows so far".
        """
        now = self._clock()
        if now >= self._next:
            say_progress(f"{what} ...")
            self._next = now + _EVERY_S
