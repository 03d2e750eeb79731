# SPDX-License-Identifier: MIT
"""How long the shards of a job take on some number of GPUs: its real plan, simulated at a measured pace."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.model_cost import ModelShape
from virnuc_profiler.analysis.projection.extrapolation import Job, extrapolations
from virnuc_profiler.analysis.projection.job_time import START_UP_FACTOR, project_job
from virnuc_profiler.analysis.projection.length_strata import strata_of
from virnuc_profiler.analysis.projection.rank_forecast import JobForecast, RankSpread, StartTimes, forecast_ranks
from virnuc_profiler.analysis.projection.rank_simulation import ReadAhead, ShardWork
from virnuc_profiler.analysis.projection.source import Source
from virnuc_profiler.embed.job import DTYPES
from virnuc_profiler.embed.measured_ranks import MeasuredRanks, read_measured, require_model
from virnuc_profiler.embed.prepared_job import token_counts_of
from virnuc_profiler.embed.shard_plan import Shard, plan_shards, resolve_num_shards
from virnuc_profiler.embed.streaming.shard_source import count_ranges
from virnuc_profiler.inference.esm2.config import ARCHITECTURES, resolve_model_name
from virnuc_profiler.inference.sequences.dataset import open_fasta
from virnuc_profiler.sweep.plan.workload import MAX_SEQUENCE_LENGTH
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration
from virnuc_profiler.telemetry.number_text import share


def predict_embedding(
    fasta: str | os.PathLike[str],
    measured: str | os.PathLike[str],
    gpus: Sequence[int],
    *,
    model: str,
    configuration: Configuration = BASELINE,
    dtype: str = "fp32",
    per_residue: bool = False,
    num_shards: int | None = None,
    skip_invalid: bool = False,
    seed: int = 0,
) -> JobForecast:
    """Predict how long ``embed`` takes for a file on several numbers of GPUs, before asking for them.

    Args:
        fasta: File of the sequences, of which only the lengths are used.
        measured: A saved run, a telemetry file with its run beside it, a result file or folder of a sweep, or the
            folder of an earlier embed job, whose ranks also tell how much ranks differ.
        gpus: Numbers of GPUs.
        model: Name of the model.
        configuration: Values of the knobs that the job will have.
        dtype: Type of the vectors' numbers on disk, ``fp32`` or ``fp16``.
        per_residue: Whether the vectors of residues are written too.
        num_shards: Number of shards; None for that which ``embed`` chooses.
        skip_invalid: Whether records that are not valid are left out.
        seed: Random seed.

    Raises:
        TelemetryFormatError: `measured` cannot be read, or holds no rate.
        UsageError: `measured` is a run of a model of another size.
        WorkloadError: The file has no sequences, or cannot be read.
        ValueError: A number of GPUs is below 1, or an option has an unknown value.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}, must be one of {', '.join(DTYPES)}")
    architecture = ARCHITECTURES[resolve_model_name(model)]
    shape = ModelShape(architecture.num_layers, architecture.hidden_size)
    sequences = open_fasta(Path(fasta), skip_invalid=skip_invalid)
    tokens = token_counts_of(sequences, MAX_SEQUENCE_LENGTH)
    if num_shards is None:
        num_shards = resolve_num_shards(
            tokens, shape.hidden_size, configuration.token_budget, DTYPES[dtype], per_residue=per_residue
        )
    shards = plan_shards(tokens, shape, min(num_shards, len(tokens)))
    return forecast_job(
        read_measured(Path(measured)), shards, tokens, shape, gpus,
        configuration=configuration, fingerprint=sequences.fingerprint, seed=seed,
    )  # fmt: skip


def forecast_job(
    measured: MeasuredRanks,
    shards: Sequence[Shard],
    tokens: NDArray[np.int64],
    shape: ModelShape,
    gpus: Sequence[int],
    *,
    configuration: Configuration,
    fingerprint: str | None = None,
    seed: int = 0,
) -> JobForecast:
    """Return what is expected of the shards of a job that are left.

    Args:
        measured: Pace of a rank, and how much ranks differ.
        shards: Shards that are left, in the order of the file.
        tokens: (n,) tokens of each of their sequences.
        shape: Shape of the model.
        gpus: Numbers of GPUs.
        configuration: Values of the knobs.
        fingerprint: Fingerprint of the file if all its shards are left; else None.
        seed: Random seed.

    Raises:
        UsageError: The pace is that of a model of another size.
        ValueError: There are no shards, or a number of GPUs is below 1.
    """
    source = measured.source
    require_model(source, shape)
    pace, job = source.pace, Job(strata_of(tokens), fingerprint)
    time = project_job(pace, source.measured, job.lengths, source.shape, sequences=len(tokens))
    steady_s = 3600 * sum(stratum.hours for stratum in time.strata)
    forecasts = forecast_ranks(
        shard_works(shards, steady_s, configuration, by_cost=source.shape is not None),
        gpus,
        start=start_times(source, configuration),
        half_width=time.parts.total,
        spread=measured.spread,
        ahead=read_ahead(configuration),
        watts=source.watts,
        seed=seed,
    )
    found = extrapolations(time, job, pace, source.workload, source.lengths, has_shape=source.shape is not None)
    return JobForecast(source, len(shards), forecasts, (*_about_ranks(source, measured.spread), *found))


def shard_works(
    shards: Sequence[Shard], seconds: float, configuration: Configuration, *, by_cost: bool
) -> list[ShardWork]:
    """Return shards with the time of each, which is its share of the time of all.

    Args:
        shards: The shards.
        seconds: Time of all of them in one process.
        configuration: Values of the knobs, which say in how many ranges a shard is read.
        by_cost: Whether time goes with FLOPs; else with tokens.
    """
    weights = [shard.cost if by_cost else shard.tokens for shard in shards]
    ahead = read_ahead(configuration).ranges
    second = seconds / sum(weights)
    return [
        ShardWork(second * weight, shard.num_sequences, count_ranges(shard, ahead))
        for shard, weight in zip(shards, weights, strict=True)
    ]


def start_times(source: Source, configuration: Configuration) -> StartTimes:
    """Return what passes before a rank computes.

    Args:
        source: What the pace was measured with.
        configuration: Values of the knobs.
    """
    first_batch_s = configuration.token_budget / source.pace.mean_rate  # which the measured start-up includes
    return StartTimes(source.before_s or 0.0, max(0.0, source.pace.start_up_s - first_batch_s))


def read_ahead(configuration: Configuration) -> ReadAhead:
    """Return how far a rank reads ahead.

    Args:
        configuration: Values of the knobs.
    """
    return ReadAhead(configuration.num_workers * configuration.prefetch_factor, configuration.buffer_size)


def _about_ranks(source: Source, spread: RankSpread) -> list[str]:
    if spread.measured_ranks:
        known = f"as those of the {spread.measured_ranks} ranks of {source.path} do"
    else:
        known = "which is assumed: the folder of an earlier job of three ranks or more would tell"
    if source.before_s is None:
        before = "the time until they run, such as that of loading the model, is unknown and left out"
    else:
        before = (
            f"they need {source.before_s:,.1f} s until they run, as the measured process did, or up to "
            f"{START_UP_FACTOR:g} times as long or as short"
        )
    return [
        "Every GPU is like the measured one, no rank is lost, and the disk keeps up with all of them.",
        f"The rates of the ranks differ by {share(spread.log_sd)} (standard deviation), {known}.",
        f"All ranks start at once; {before}. The check of the files at the end is not included.",
    ]
