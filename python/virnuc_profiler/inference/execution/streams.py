# SPDX-License-Identifier: MIT
"""Switch the current CUDA stream."""

from __future__ import annotations

from types import TracebackType

import torch


class OnStream:
    """Context in which work is queued, and memory allocated, on another stream than the current one.

    It does what ``torch.cuda.stream`` does, but is given the current stream: looking that up takes as long as queueing
    a copy.

    Args:
        stream: Stream to use inside the block.
        current: Stream that is current now, and again after the block.
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
