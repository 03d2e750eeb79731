# SPDX-License-Identifier: MIT
"""One job's telemetry from the telemetry of its shards (several GPUs, each with its own run)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from virnuc_profiler.analysis.documents import complete_summary
from virnuc_profiler.analysis.statistics import mean
from virnuc_profiler.telemetry.summary import summarise


def aggregate_shards(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Adds up shards that ran side by side.

    Sequences, tokens and batches are summed, the time is that of the slowest shard, and rates follow from these.
    GPU utilisation and packing efficiency are means of the shards' own averages, over the shards that have them.
    ``pct_starved`` and the checkpoint keys come from all batch records. A total or time that one shard lacks,
    and cannot be had from its batches, is None for the job.

    Args:
        documents: loaded telemetry files; a shard's rank is its place here.

    Returns:
        ``global_summary``, ``per_shard_summary`` (a list, each with ``shard_rank``) and ``per_batch_metrics``
        (each with ``shard_rank``).

    Raises:
        ValueError: there are no documents.
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
    }
    return {
        "global_summary": {
            **summarise(batches, None, overall),
            "num_shards": len(documents),
        },
        "per_shard_summary": [{"shard_rank": rank, **summary} for rank, summary in enumerate(summaries)],
        "per_batch_metrics": batches,
    }


def differing_models(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """The model names in the shards' metadata, if there is more than one; shards without a name do not count."""
    names = {
        str(name) for document in documents if (name := document.get("run_metadata", {}).get("model_name")) is not None
    }
    return sorted(names) if len(names) > 1 else []


def _all_or_none(values: Iterable[Any]) -> list[Any] | None:
    known = list(values)
    return None if any(value is None for value in known) else known
