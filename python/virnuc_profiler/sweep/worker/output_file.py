# SPDX-License-Identifier: MIT
"""A temporary file for the stdout and stderr of the model process and its descendants."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

LAST_LINES: Final = 20
"""Lines of output to keep."""

_TAIL_BYTES: Final = 32_768
_MAX_BYTES: Final = 1 << 24
_BLOCK_BYTES: Final = 1 << 20
_MAX_LINE: Final = 400
_STACK_FRAME: Final = re.compile(r"\s*frame #\d+: ")
"""C++ stack frames, which PyTorch prints by the dozen. The lines before them matter more."""


class OutputFile:
    """Receives output in a file. A pipe would block the process while nothing reads from it.

    Attributes:
        descriptor: File descriptor to pass to the process as stdout and stderr.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="virnuc_profiler-output-", mode="w+b", buffering=0)  # noqa: SIM115
        self.descriptor = self._file.fileno()
        # In append mode, output after take() starts at the beginning of the emptied file.
        flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, flags | os.O_APPEND)

    def last_lines(self, count: int) -> list[str]:
        """Return the last `count` lines, without blank lines and C++ stack frames."""
        text = self._tail().decode(errors="replace")
        lines = [line for line in text.splitlines() if line.strip() and not _STACK_FRAME.match(line)]
        return [line.rstrip()[:_MAX_LINE] for line in lines[-count:]]

    def take(self) -> list[str]:
        """Return the last lines and empty the file, so that it does not grow from trial to trial."""
        lines = self.last_lines(LAST_LINES)
        os.ftruncate(self.descriptor, 0)
        return lines

    def shorten(self) -> None:
        """Cut a file of more than 16 MiB down to its tail. A line printed at this moment may be lost."""
        if os.fstat(self.descriptor).st_size > _MAX_BYTES:
            tail = self._tail()
            os.ftruncate(self.descriptor, 0)
            self._file.write(tail)

    def append_to(self, path: Path) -> None:
        """Append the output to another file, unless there is none. A file that cannot be written is left as it is.

        Args:
            path: File to append to, which is made with its folder.
        """
        size = os.fstat(self.descriptor).st_size
        if not size:
            return
        with suppress(OSError):  # what is printed is no result
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                for start in range(0, size, _BLOCK_BYTES):
                    file.write(os.pread(self.descriptor, min(_BLOCK_BYTES, size - start), start))

    def close(self) -> None:
        """Close the file. Processes that still print to it do so without effect."""
        self._file.close()

    def _tail(self) -> bytes:
        size = os.fstat(self.descriptor).st_size
        start = max(0, size - _TAIL_BYTES)
        return os.pread(self.descriptor, size - start, start)
