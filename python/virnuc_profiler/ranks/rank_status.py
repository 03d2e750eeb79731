# SPDX-License-Identifier: MIT
"""The state of ranks that this program has started: each rank tells its launcher through a pipe, a line per second."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

STATUS_VARIABLE: Final = "VIRNUC_PROFILER_STATUS"
"""File descriptor of the pipe to a launcher that shows the state of its ranks."""

_MAX_LINE: Final = 4096
"""Longest line in bytes: a pipe takes that many at once, or none of them."""


class StatusPipe:
    """The end of a rank.

    Args:
        descriptor: File descriptor of the pipe.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)  # workers must not keep the pipe open
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    @classmethod
    def of_launcher(cls) -> StatusPipe | None:
        """Return the pipe to the launcher of this process; None if it shows no state."""
        text = os.environ.pop(STATUS_VARIABLE, "")
        if not text.isdecimal():
            return None
        try:
            return cls(int(text))
        except OSError:
            return None

    def send(self, state: Mapping[str, Any]) -> None:
        """Tell the state; a launcher that does not read misses it.

        Args:
            state: JSON-serializable values.
        """
        line = json.dumps(dict(state)).encode() + b"\n"
        if len(line) <= _MAX_LINE:
            with suppress(OSError):
                os.write(self._descriptor, line)


def read_states(descriptor: int) -> Iterator[dict[str, Any]]:
    """Yield the states that a rank tells until it has ended. A line that is none is left out.

    Args:
        descriptor: File descriptor of the pipe, which is closed at the end.
    """
    with os.fdopen(descriptor, "rb") as pipe:
        for line in pipe:
            with suppress(ValueError):
                state = json.loads(line)
                if isinstance(state, dict):
                    yield state
