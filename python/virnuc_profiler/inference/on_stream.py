# SPDX-License-Identifier: MIT
"""Work on another stream than the current one."""

from __future__ import annotations

from types import TracebackType

import torch


class OnStream:
    """Has work queued, and memory allocated, on `stream`; afterwards on the current one again.

    Like ``torch.cuda.stream``, but told what the current one is. Finding that out takes as long as queueing a copy.
    """

    __slots__ = ("_current", "_stream")

    def __init__(self, stream: torch.cuda.Stream, current: torch.cuda.Stream) -> None:
        self._stream, self._current = stream, current

    def __enter__(self) -> None:
        torch.cuda.set_stream(self._stream)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        torch.cuda.set_stream(self._current)
