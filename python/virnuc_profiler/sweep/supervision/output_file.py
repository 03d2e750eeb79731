# SPDX-License-Identifier: MIT
"""Where a model process prints: an unnamed file, so that the supervisor's tables stay clean and last words are kept."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from typing import Final

LAST_LINES: Final = 20
_LAST_BYTES: Final = 32_768
_MOST_BYTES: Final = 1 << 24
_LONGEST_LINE: Final = 400
_STACK_FRAME: Final = re.compile(r"\s*frame #\d+: ")
"""Of C++, as PyTorch prints them by the dozen: what was said before them matters more."""


class OutputFile:
    """Takes stdout and stderr of a process and its descendants. A pipe would block them when nobody reads."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="virnuc_profiler-output-", mode="w+b", buffering=0)  # noqa: SIM115
        self.descriptor = self._file.fileno()
        # Appending, so that whoever prints after take() does not leave a hole in front.
        flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, flags | os.O_APPEND)

    def last_lines(self, count: int) -> list[str]:
        """The last lines that say something."""
        text = self._tail().decode(errors="replace")
        told = [line for line in text.splitlines() if line.strip() and not _STACK_FRAME.match(line)]
        return [line.rstrip()[:_LONGEST_LINE] for line in told[-count:]]

    def take(self) -> list[str]:
        """The last lines, after which the file is empty again: it does not grow over the trials."""
        lines = self.last_lines(LAST_LINES)
        os.ftruncate(self.descriptor, 0)
        return lines

    def shorten(self) -> None:
        """Cuts off what nobody will read, if it has become much; a line printed at this moment may be lost with it."""
        if os.fstat(self.descriptor).st_size > _MOST_BYTES:
            tail = self._tail()
            os.ftruncate(self.descriptor, 0)
            self._file.write(tail)

    def _tail(self) -> bytes:
        size = os.fstat(self.descriptor).st_size
        start = max(0, size - _LAST_BYTES)
        return os.pread(self.descriptor, size - start, start)

    def close(self) -> None:
        """Lets it go; what still prints there prints into nothing."""
        self._file.close()
