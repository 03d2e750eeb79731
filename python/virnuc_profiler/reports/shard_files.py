# SPDX-License-Identifier: MIT
"""Aggregation of the telemetry of several shards."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from virnuc_profiler.analysis.summary.rank_scaling import RankScaling, scaling_of_ranks
from virnuc_profiler.analysis.summary.shards import aggregate_shards, differing_models
from virnuc_profiler.reports.telemetry_file import load_telemetry
from virnuc_profiler.telemetry.values import printable


def aggregate_telemetry_shards(
    paths: Sequence[str | os.PathLike[str]], *, baseline_tokens_per_sec: float | None = None
) -> dict[str, Any]:
    """Aggregate the telemetry of the shards of a job.

    Sequences, tokens and batches are summed. The time of the job is the time during which at least one shard ran, by
    the timestamps in the files, and rates follow from both.

    Args:
        paths: Telemetry files or saved runs. The rank of a shard is its position.
        baseline_tokens_per_sec: Whole-run rate of the same work in one rank, for the scaling efficiency; None if it is
            unknown.

    Returns:
        ``global_summary`` (the keys of a telemetry summary, ``num_shards``, ``shard_overlap`` and ``warnings``),
        ``per_shard_summary`` (a list of summaries with ``shard_rank`` and ``path``) and ``per_batch_metrics`` (all
        batches, with ``shard_rank``). If the files are those of ranks that ``profile`` or ``embed`` wrote, also
        ``scaling``: what start-up and the end of the job cost, the scaling efficiency, the energy of all, and the rate
        of each rank, with the diagnosis of stragglers.

    Warns:
        UserWarning: ``model_name`` differs between the shards, they did not run at the same time, a file does not say
            when it ran or lacks an average that others have, or two files may be copies.

    Raises:
        ValueError: There are no paths, or a file or the run in it is given twice, which would count its work twice.
        TelemetryFormatError: A file cannot be read, or is neither telemetry nor a saved run.
    """
    result, scaling = aggregate_files(paths, baseline_tokens_per_sec)
    for sentence in result["global_summary"]["warnings"]:
        warnings.warn(sentence, UserWarning, stacklevel=2)
    return result if scaling is None else {**result, "scaling": asdict(scaling)}


def aggregate_files(
    paths: Sequence[str | os.PathLike[str]], baseline_tokens_per_sec: float | None = None
) -> tuple[dict[str, Any], RankScaling | None]:
    """Aggregate the telemetry of the shards of a job, with how its ranks worked together, and warn of nothing.

    Args:
        paths: Telemetry files or saved runs. The rank of a shard is its position.
        baseline_tokens_per_sec: Whole-run rate of the same work in one rank; None if it is unknown.

    Raises:
        ValueError: There are no paths, or a file or the run in it is given twice.
        TelemetryFormatError: A file cannot be read, or is neither telemetry nor a saved run.
    """
    if isinstance(paths, str | os.PathLike):
        raise ValueError(f"paths must be a list of files, not the single path {os.fspath(paths)}")
    files = [Path(path) for path in paths]
    if not files:
        raise ValueError("there are no telemetry shards to aggregate; pass at least one path")
    resolved: set[Path] = set()
    for file in files:
        if file.resolve() in resolved:
            raise ValueError(f"{file} is given twice; each shard counts once")
        resolved.add(file.resolve())
    documents = [load_telemetry(file) for file in files]
    unique = len({file.name for file in files}) == len(files)
    result = aggregate_shards(documents, [printable(file.name if unique else str(file)) for file in files])
    if models := differing_models(documents):
        names = ", ".join(printable(name) for name in models)
        result["global_summary"]["warnings"].insert(0, f"the shards ran different models: {names}")
    scaling = scaling_of_ranks(documents, result["per_shard_summary"], baseline_tokens_per_sec)
    for summary, file in zip(result["per_shard_summary"], files, strict=True):
        summary["path"] = str(file)
    return result, scaling
