# SPDX-License-Identifier: MIT
"""Telemetry of a job on several GPUs: the sum of its shards, and how well the job scales."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from virnuc_profiler.analysis.summary.performance_figures import complete_summary
from virnuc_profiler.analysis.timing.statistics import mean, weighted_mean
from virnuc_profiler.telemetry.summary import summarize

REQUIRED_EFFICIENCY_PERCENT = 95.0
"""Minimum scaling efficiency of requirement PERF-03."""

_ROUNDING = 1e-9
"""Tolerance for rounding: 100 s on one GPU and 100 / (4 * 0.95) s on four count as 95 %."""


def aggregate_shards(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up shards that ran in parallel.

    Sequences, tokens and batches are summed, the time is that of the slowest shard, and rates follow from both. GPU
    utilization and packing efficiency are means of the shards' averages, over the shards that have them.
    ``pct_starved`` and the checkpoint keys come from all batches. A total or time is None for the job if a shard lacks
    it and its batches do not provide it.

    Args:
        documents: Valid telemetry documents. The rank of a shard is its position.

    Returns:
        ``global_summary``, ``per_shard_summary`` (a list of summaries with ``shard_rank``) and ``per_batch_metrics``
        (all batches, with ``shard_rank``).

    Raises:
        ValueError: There are no documents.
    """
    if not documents:
        raise ValueError("there are no telemetry shards to aggregate; pass at least one")
    summaries = [complete_summary(document) for document in documents]
    batches = [
        {**record, "shard_rank": rank}
        for rank, document in enumerate(documents)
        for record in document["per_batch_metrics"]
    ]
    elapsed = _all_or_none(summary.get("elapsed_seconds") for summary in summaries)
    totals = {
        key: None if (values := _all_or_none(summary.get(key) for summary in summaries)) is None else sum(values)
        for key in ("total_sequences", "total_tokens", "total_batches")
    }
    overall = {
        **totals,
        "elapsed_seconds": None if elapsed is None else max(elapsed),
        "avg_gpu_util": mean(summary.get("avg_gpu_util") for summary in summaries),
        "avg_packing_efficiency": mean(summary.get("avg_packing_efficiency") for summary in summaries),
        **_joint_wait(summaries),
    }
    return {
        "global_summary": {
            **summarize(batches, None, overall),
            "num_shards": len(documents),
        },
        "per_shard_summary": [{"shard_rank": rank, **summary} for rank, summary in enumerate(summaries)],
        "per_batch_metrics": batches,
    }


def _joint_wait(summaries: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the share of their time that shards spent waiting; None if one lacks it, and no key if all do."""
    if not any("wait_fraction" in summary for summary in summaries):
        return {}
    shares = [(summary.get("wait_fraction"), summary.get("elapsed_seconds") or 0.0) for summary in summaries]
    known = _all_or_none(share for share, _ in shares)
    return {"wait_fraction": None if known is None else weighted_mean(shares)}


def differing_models(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the model names in the metadata of the shards if there is more than one, else an empty list.

    Args:
        documents: Valid telemetry documents. Those without a model name are ignored.
    """
    names = {
        str(name) for document in documents if (name := document.get("run_metadata", {}).get("model_name")) is not None
    }
    return sorted(names) if len(names) > 1 else []


def calculate_scaling_efficiency(
    baseline_runtime: float, multi_gpu_runtime: float, num_gpus: int
) -> dict[str, float | bool]:
    """Compare a run on several GPUs with the same job on one GPU.

    Args:
        baseline_runtime: Seconds on one GPU.
        multi_gpu_runtime: Seconds on `num_gpus` GPUs.
        num_gpus: Number of GPUs.

    Returns:
        ``speedup``, ``efficiency`` (percent of a speedup of `num_gpus`), ``ideal_runtime`` in seconds,
        ``overhead_seconds`` (beyond the ideal; negative if the run was faster) and ``meets_perf03`` (whether the
        efficiency is 95 % or more).

    Raises:
        ValueError: A runtime is not a finite number above 0, or `num_gpus` is not a whole number of 1 or more.
    """
    for name, runtime in (("baseline_runtime", baseline_runtime), ("multi_gpu_runtime", multi_gpu_runtime)):
        if isinstance(runtime, bool) or not math.isfinite(runtime) or runtime <= 0:
            raise ValueError(f"{name} is {runtime}; it must be a number of seconds above 0")
    if isinstance(num_gpus, bool) or not math.isfinite(num_gpus) or num_gpus % 1 or num_gpus < 1:
        raise ValueError(f"num_gpus is {num_gpus}; it must be a whole number of 1 or more")
    speedup = baseline_runtime / multi_gpu_runtime
    efficiency = 100 * speedup / num_gpus
    ideal_runtime = baseline_runtime / num_gpus
    return {
        "speedup": speedup,
        "efficiency": efficiency,
        "ideal_runtime": ideal_runtime,
        "overhead_seconds": multi_gpu_runtime - ideal_runtime,
        "meets_perf03": efficiency >= REQUIRED_EFFICIENCY_PERCENT - _ROUNDING,
    }


def _all_or_none(values: Iterable[Any]) -> list[Any] | None:
    known = list(values)
    return None if any(value is None for value in known) else known
