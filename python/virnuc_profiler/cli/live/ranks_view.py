# SPDX-License-Identifier: MIT
"""The live view of ranks that this program has started: the whole job, and a row for each rank."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from virnuc_profiler.telemetry.records import GpuReading

if TYPE_CHECKING:
    from rich.console import RenderableType


class RanksView:
    """Keeps the last state of each rank.

    Args:
        count: Number of ranks.
    """

    def __init__(self, count: int) -> None:
        self._states: list[Mapping[str, Any]] = [{} for _ in range(count)]
        self._ended = [False] * count
        self._lock = threading.Lock()

    def note(self, index: int, state: Mapping[str, Any] | None) -> None:
        """Note the state of a rank; any thread may call this.

        Args:
            index: Number of the rank.
            state: Its state; None once it has ended.
        """
        with self._lock:
            self._ended[index] = state is None
            if state is not None:
                self._states[index] = state

    def rows(self, columns: int) -> Iterator[RenderableType]:
        """Yield the rows of the view.

        Args:
            columns: Columns of the terminal.
        """
        from virnuc_profiler.cli.live.view_rows import bar, facts, gpu_facts, headline, rate_facts

        with self._lock:
            states, ended = list(self._states), list(self._ended)
        running = [state for state, over in zip(states, ended, strict=True) if state and not over]
        share = max((_number(state, "share") for state in states), default=0.0)
        tokens_per_s = sum(_number(state, "tokens_per_s") for state in running)
        sequences_per_s = sum(_number(state, "sequences_per_s") for state in running)
        left = max((_number(state, "total_tokens") for state in states), default=0.0) * (1 - share)
        seconds = left / tokens_per_s if tokens_per_s else None
        yield headline(f"embed on {len(states)} ranks, {sum(ended)} ended", seconds, columns)
        yield bar(share, columns)
        if tokens_per_s:
            yield from facts("all", rate_facts(sequences_per_s, tokens_per_s, None), columns)
        for index, (state, over) in enumerate(zip(states, ended, strict=True)):
            written = f"{_number(state, 'shards'):.0f} shards" if state else ""
            if over or not state:
                parts = ["ended" if over else "starting", written]
            else:
                gpu = GpuReading(**state["gpu"]) if state.get("gpu") else None
                rate = _number(state, "sequences_per_s")
                busy, *others = gpu_facts(gpu) or [""]
                parts = [f"{rate:>8,.0f} sequences/s", busy, written, *others]
            yield from facts(f"rank {index}", parts, columns)


def _number(state: Mapping[str, Any], key: str) -> float:
    value = state.get(key)
    return float(value) if isinstance(value, int | float) else 0.0
