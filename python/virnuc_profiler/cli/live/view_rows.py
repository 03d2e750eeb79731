# SPDX-License-Identifier: MIT
"""The rows of a live view: a headline with the time left, a bar, and rows of facts that fit any width."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.text import Text

from virnuc_profiler.cli.terminal import cells, safe
from virnuc_profiler.sweep.plan.estimate import in_words
from virnuc_profiler.telemetry.number_text import number
from virnuc_profiler.telemetry.records import GpuReading

_LABEL: Final = 9
"""Columns of the label of a row."""
_PERCENT: Final = 5


class _Memory(io.StringIO):
    """A file in memory with the encoding of a terminal, by which the characters of a bar are chosen."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the terminal."""
        return self._encoding


def rendered(rows: Callable[[int], Iterable[RenderableType]]) -> Callable[[int], str]:
    """Return a view from rows, in the colors that the terminal of stderr shows.

    Args:
        rows: Returns the rows for a number of columns.
    """
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    terminal = Console(stderr=True)
    colors = None if terminal.no_color else terminal.color_system
    console = Console(
        file=_Memory(encoding),
        force_terminal=True,
        color_system=colors,  # type: ignore[arg-type]  # one of the names that it takes
        highlight=False,
    )

    def view(columns: int) -> str:
        console.width = columns
        with console.capture() as shown:
            console.print(Group(*rows(columns)), no_wrap=True, overflow="ellipsis", crop=True)
        return shown.get().rstrip("\n")

    return view


def headline(title: str, seconds_left: float | None, columns: int, besides: str = "") -> RenderableType:
    """Return what is going on, and how long it will take, on one row or, where that is too narrow, on two.

    Args:
        title: What is going on.
        seconds_left: Seconds that are left; None if that is not known.
        columns: Columns of the terminal.
        besides: What the time does not include, such as `` + confirmation``.
    """
    title = safe(title)
    left = "" if seconds_left is None else f"about {in_words(seconds_left)} left{besides}"
    row = Text(title, style="bold")
    gap = columns - cells(title) - cells(left)
    return row.append(f"{' ' * gap if gap > 1 else chr(10)}{left}", style="not bold") if left else row


def bar(share: float, columns: int) -> RenderableType:
    """Return a bar over the whole width, with its percentage.

    Args:
        share: Share that is done, from 0 to 1.
        columns: Columns of the terminal.
    """
    width = columns - _PERCENT
    return _BarRow(ProgressBar(total=1.0, completed=min(1.0, share), width=width), f"{share:{_PERCENT}.0%}")


class _BarRow:
    """A bar with its percentage behind it, without the cost of a table."""

    def __init__(self, shown: ProgressBar, text: str) -> None:
        self._shown = shown
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = [one for one in self._shown.__rich_console__(console, options) if isinstance(one, Segment)]
        yield from shown
        missing = (self._shown.width or 0) - Segment.get_line_length(shown)  # without colors, the rest is not drawn
        yield Segment(f"{' ' * missing}{self._text}")
        yield Segment.line()


def facts(label: str, parts: Sequence[str], columns: int) -> Iterable[RenderableType]:
    """Yield a row of facts, the most important first, as many as fit; none if nothing is known.

    Args:
        label: What the facts are of.
        parts: The facts; empty ones are left out.
        columns: Columns of the terminal.
    """
    known = [safe(part) for part in parts if part]
    if not known:
        return
    text = known[0]
    for part in known[1:]:
        if _LABEL + cells(text) + 2 + cells(part) > columns:
            break
        text += f", {part}"
    yield Text(f"{label:<{_LABEL}}", style="dim").append(text, style="not dim")


def rate_facts(sequences_per_s: float | None, tokens_per_s: float | None, packing: float | None) -> list[str]:
    """Return rates and packing, as far as they are known.

    Args:
        sequences_per_s: Sequences per second; None if not known.
        tokens_per_s: Tokens per second; None if not known.
        packing: Packing efficiency, from 0 to 1; None if not known.
    """
    return [
        "" if sequences_per_s is None else f"{number(sequences_per_s)} sequences/s",
        "" if tokens_per_s is None else f"{number(tokens_per_s)} tokens/s",
        "" if packing is None else f"packing {packing:.1%}",
    ]


def gpu_facts(reading: GpuReading | None) -> list[str]:
    """Return what a reading of the GPU says.

    Args:
        reading: The reading; None if there is none.
    """
    if reading is None:
        return []
    power, memory, clock = reading.power_mw, reading.used_memory_bytes, reading.sm_clock_mhz
    return [
        "" if reading.utilization_percent is None else f"{reading.utilization_percent}% busy",
        "" if memory is None else f"{memory / 1e9:.2f} GB",
        "" if power is None else f"{power / 1000:.0f} W",
        "" if clock is None else f"{clock:,} MHz",
        "" if reading.temperature_c is None else f"{reading.temperature_c} C",
    ]


def packing_of(tokens: int, batches: int | None, budget: int | None) -> float | None:
    """Return the packing efficiency of what is done; None if it is not known.

    Args:
        tokens: Tokens that are done.
        batches: Batches that they were packed into; None if these are not counted.
        budget: Token budget of a batch; None if the target packs in its own way.
    """
    return min(1.0, tokens / (batches * budget)) if batches and budget else None
