# SPDX-License-Identifier: MIT
"""What a prediction for several ranks needs of a measurement: the pace of a rank, and how much ranks differ."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

from virnuc_profiler.analysis.model_cost import ModelShape
from virnuc_profiler.analysis.projection.job_time import MIN_REPEATS
from virnuc_profiler.analysis.projection.rank_forecast import ASSUMED_SPREAD, RankSpread
from virnuc_profiler.analysis.projection.source import Source
from virnuc_profiler.embed.job_folder import TELEMETRY_FOLDER
from virnuc_profiler.errors import TelemetryFormatError, UsageError
from virnuc_profiler.sweep.results.projection_source import read_source
from virnuc_profiler.telemetry.number_text import counted


@dataclass(frozen=True, slots=True)
class MeasuredRanks:
    """What was measured of a rank or of several.

    Attributes:
        source: Pace of a rank, and what it was measured with.
        spread: How much ranks differ; an assumption if fewer than three ranks were measured.
    """

    source: Source
    spread: RankSpread


def read_measured(path: Path) -> MeasuredRanks:
    """Read the pace of a rank.

    Args:
        path: Whatever :func:`read_source` reads, or the folder of an embed job. If several ranks have run that, the
            pace is their mean.

    Raises:
        TelemetryFormatError: It cannot be read, is something else, or holds no rate.
    """
    runs = sorted((path / TELEMETRY_FOLDER).glob("run_embed_rank_*.json")) if path.is_dir() else []
    if not runs:
        return MeasuredRanks(read_source(path), ASSUMED_SPREAD)
    sources = list(_that_ran([run for run in runs if "_part_" not in run.name and ".earlier-" not in run.name]))
    if not sources:
        raise TelemetryFormatError(f"no rank of {path} has two measured batches, so there is no rate to predict from")
    logs = [math.log(_work_per_sec(source)) for source in sources]
    usual = min(range(len(sources)), key=lambda place: abs(logs[place] - fmean(logs)))
    source = sources[usual]
    pace = replace(source.pace, tokens_per_sec=source.pace.tokens_per_sec * math.exp(fmean(logs) - logs[usual]))
    spread = RankSpread(stdev(logs), len(logs)) if len(logs) >= MIN_REPEATS else ASSUMED_SPREAD
    return MeasuredRanks(replace(source, path=path, pace=pace), spread)


def require_model(source: Source, shape: ModelShape) -> None:
    """Check that a pace is that of a model, as far as is known.

    Args:
        source: What the pace was measured with.
        shape: Shape of the model.

    Raises:
        UsageError: It is that of a model of another size.
    """
    if source.shape is not None and source.shape != shape:
        then, now = (f"{counted(each.num_layers, 'layer')} of {each.hidden_size}" for each in (source.shape, shape))
        raise UsageError(
            f"{source.path} was measured with a model of {then}, and the job's has {now}: name a run of that model"
        )


def _that_ran(runs: list[Path]) -> Iterator[Source]:
    """Yield the source of each run, without those of ranks that found next to nothing to do."""
    for run in runs:
        with suppress(TelemetryFormatError):
            yield read_source(run)


def _work_per_sec(source: Source) -> float:
    return source.pace.mean_rate * sum(source.measured.work(source.shape)) / source.measured.total_tokens
