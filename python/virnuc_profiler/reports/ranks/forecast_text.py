# SPDX-License-Identifier: MIT
"""What is expected of a job on several numbers of GPUs, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final

from virnuc_profiler.analysis.projection.rank_forecast import JobForecast, RankForecast
from virnuc_profiler.reports.figures import counted, number, percent, share, words
from virnuc_profiler.sweep.plan.estimate import in_words

_WIDTH: Final = 100
_JOULES_PER_KWH: Final = 3.6e6


def render_forecast(forecast: JobForecast, device: str = "GPU") -> str:
    """Return a table with a line for each number of GPUs, and what it assumes.

    Args:
        forecast: What is expected.
        device: What a rank computes on, in one word.
    """
    lines = [
        f"Predicted for {counted(forecast.num_shards, 'shard')} from {words(str(forecast.source.path))}:",
        "",
        *_table(forecast.forecasts, device),
        "",
        "Assumed:",
    ]
    for sentence in forecast.assumptions:
        lines += wrap(words(sentence, 1000), _WIDTH, initial_indent="  - ", subsequent_indent="    ")
    return "\n".join(lines) + "\n"


def _table(forecasts: Sequence[RankForecast], device: str) -> Iterator[str]:
    figures = ["Wall time", "95 % interval", "Tail", "Efficiency"]
    header = [f"{device}s", *figures, f"Shards per {device}", f"{device}-hours"]
    has_energy = any(forecast.joules is not None for forecast in forecasts)
    rows = [header + ["Energy"] * has_energy]
    for forecast in forecasts:
        time, (fewest, most) = forecast.wall_s, forecast.shards
        row = [
            f"{forecast.ranks:,}",
            in_words(time.middle),
            f"{in_words(time.low)} to {in_words(time.high)}",
            share(forecast.tail_share.middle),
            percent(forecast.efficiency_percent.middle),
            f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}",
            number(forecast.rank_hours, 2),
        ]
        if has_energy:
            row.append(number(None if forecast.joules is None else forecast.joules / _JOULES_PER_KWH, 2, " kWh"))
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield " | ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
