# SPDX-License-Identifier: MIT
"""What is expected of a job on several numbers of GPUs, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from virnuc_profiler.analysis.projection.rank_forecast import JobForecast, RankForecast
from virnuc_profiler.reports.columns import filled, fitted
from virnuc_profiler.reports.figures import counted, number, percent, share, words
from virnuc_profiler.sweep.plan.estimate import in_words

_JOULES_PER_KWH: Final = 3.6e6


def render_forecast(forecast: JobForecast, device: str = "GPU", width: int = 80) -> str:
    """Return a table with a line for each number of GPUs, and what it assumes.

    Args:
        forecast: What is expected.
        device: What a rank computes on, in one word.
        width: Maximum number of characters of a line; a table that is wider is split.
    """
    lines = [
        f"Predicted for {counted(forecast.num_shards, 'shard')} from {words(str(forecast.source.path))}:",
        "",
        *fitted(_rows(forecast.forecasts, device), width),
        "",
        "Assumed:",
    ]
    for sentence in forecast.assumptions:
        lines += filled(f"  - {words(sentence, 1000)}", width, "    ")
    return "\n".join(lines) + "\n"


def _rows(forecasts: Sequence[RankForecast], device: str) -> list[list[str]]:
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
    return rows
