# SPDX-License-Identifier: MIT
"""A text stream in place of one of the process, which passes on what is written to it."""

from __future__ import annotations

import io
from typing import Any, TextIO


class StreamWrapper(io.TextIOBase):
    """Has all that another stream has, and collects what is not yet a whole line; subclasses write.

    Args:
        stream: The other stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rest = ""

    def __getattr__(self, name: str) -> Any:
        """Return what the stream itself has, such as its buffer."""
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the stream."""
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What becomes of characters that the encoding lacks."""
        return self._stream.errors

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the file descriptor of the stream."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Whether text can be written."""
        return True
