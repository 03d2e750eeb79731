# SPDX-License-Identifier: MIT
"""Telemetry of a job on several GPUs: the sum of its shards, and how well the job scales."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Final

from virnuc_profiler.analysis.gpu.coverage import Coverage, joint_coverage
from virnuc_profiler.analysis.host.interruptions import summary_interrupted
from virnuc_profiler.analysis.summary.performance_figures import complete_summary
from virnuc_profiler.analysis.summary.sampled_keys import COVERAGE, UTILIZATION, sampled_value
from virnuc_profiler.analysis.summary.shard_times import job_times, repeated_run, shard_spans
from virnuc_profiler.analysis.timing.statistics import mean, weighted_mean
from virnuc_profiler.telemetry.number_text import number, percent
from virnuc_profiler.telemetry.rates import planned_tokens_per_sequence
from virnuc_profiler.telemetry.summary import summarize

LATE_SHARE: Final = 0.05
"""Shards that start together may differ by this share of the longest one. Beyond it, the job took longer than that."""

CONSIDERABLE_POINTS: Final = 5.0
"""Difference from which it is said that an average depends on the weights of the shards, percentage points."""

_AVERAGES: Final = {"avg_gpu_util": "GPU utilization", "avg_packing_efficiency": "packing efficiency"}
"""Keys that are means of the shards' averages."""


def aggregate_shards(documents: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None) -> dict[str, Any]:
    """Add up the shards of a job.

    Sequences, tokens and batches are summed. The time of the job is the time during which at least one shard ran, so
    that shards that ran later or one after the other do not raise its rates. If a file does not say when it ran, the
    time is that of the slowest shard, as if all had run at once. Rates follow from both. GPU utilization and packing
    efficiency are means of the shards' averages; a utilization is null if the shards that have one are too few to
    stand for the job. ``pct_starved`` and the checkpoint keys come from all batches. A total or time is None for the
    job if a shard lacks it and its batches do not provide it.

    Args:
        documents: Valid telemetry documents. The rank of a shard is its position.
        names: Name of each shard in warnings; by default ``shard 0`` and so on.

    Returns:
        ``global_summary``, ``per_shard_summary`` (a list of summaries with ``shard_rank``) and ``per_batch_metrics``
        (all batches, with ``shard_rank``). The global summary also has ``num_shards``, ``shard_overlap`` (share of the
        time during which all shards ran at once; None if it is unknown), and ``warnings`` (sentences on what its
        figures may hide).

    Raises:
        ValueError: There are no documents, or two of them hold the same run.
    """
    if not documents:
        raise ValueError("there are no telemetry shards to aggregate; pass at least one")
    names = [f"shard {rank}" for rank in range(len(documents))] if names is None else names
    if (repeated := repeated_run(documents)) is not None:
        first, second = (names[rank] for rank in repeated)
        raise ValueError(f"{second} holds the same run as {first}; each shard counts once")
    summaries = [complete_summary(document) for document in documents]
    batches = [
        {**record, "shard_rank": rank}
        for rank, document in enumerate(documents)
        for record in document["per_batch_metrics"]
    ]
    totals = {
        key: None if (values := _all_or_none(summary.get(key) for summary in summaries)) is None else sum(values)
        for key in ("total_sequences", "total_tokens", "total_batches")
    }
    elapsed, overlap, remarks = _job_time(documents, summaries, names)
    overall = {
        **totals,
        "elapsed_seconds": elapsed,
        **{key: mean(summary.get(key) for summary in summaries) for key in _AVERAGES},
        **_joint_utilization(summaries),
        **_joint_wait(summaries),
    }
    return {
        "global_summary": {
            **summarize(batches, None, overall),
            "num_shards": len(documents),
            "shard_overlap": overlap,
            "warnings": [
                *remarks,
                *_disturbed(documents, summaries, names),
                *_missing_averages(summaries, overall, names),
                *_unequal_weights(summaries, batches, overall),
                *_possible_copies(documents, names),
            ],
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


def _job_time(
    documents: Sequence[Mapping[str, Any]], summaries: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> tuple[float | None, float | None, list[str]]:
    """Return the seconds of a job, the share of them during which all shards ran, and warnings about them."""
    seconds = _all_or_none(summary.get("elapsed_seconds") for summary in summaries)
    if seconds is None:
        return None, None, []
    longest = max(seconds)
    if len(documents) == 1:
        return longest, 1.0, []
    spans = shard_spans(documents, seconds)
    if unknown := [name for name, span in zip(names, spans, strict=True) if span is None]:
        text = f"it is unknown when {', '.join(unknown)} ran: rates assume that all shards ran at once"
        return longest, None, [text]
    times = job_times([span for span in spans if span is not None])
    if times.seconds <= (1 + LATE_SHARE) * longest:
        return max(times.seconds, longest), times.overlap, []
    pause = f", with a pause of {times.pause_seconds:,.1f} s" if times.pause_seconds else ""
    return (
        times.seconds,
        times.overlap,
        [
            f"the shards did not run at the same time: they took {times.seconds:,.1f} s together{pause}, the longest "
            f"{longest:,.1f} s, and all ran at once for {times.overlap:.0%}; rates are over {times.seconds:,.1f} s"
        ],
    )


def _joint_utilization(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return utilization and coverage of a job of which a part was not sampled; no keys if all of it was."""
    loads = [sampled_value(summary, UTILIZATION) for summary in summaries]
    if all(load.value is None for load in loads) or not any(load.value is None or load.coverage for load in loads):
        return {}
    seconds = _all_or_none(summary.get("elapsed_seconds") for summary in summaries)
    weights = [1.0] * len(loads) if seconds is None else seconds
    unstated = Coverage(1.0, 0, 0.0)  # another writer's value, which says nothing of its readings
    coverage = joint_coverage(
        [
            (weight, None if load.value is None else load.coverage or unstated)
            for weight, load in zip(weights, loads, strict=True)
        ]
    )
    average = mean(load.value for load in loads) if coverage.sufficient else None
    return {UTILIZATION: average, COVERAGE: {UTILIZATION: coverage.to_json()}}


def _missing_averages(
    summaries: Sequence[Mapping[str, Any]], overall: Mapping[str, Any], names: Sequence[str]
) -> Iterator[str]:
    for key, label in _AVERAGES.items():
        missing = [name for name, summary in zip(names, summaries, strict=True) if summary.get(key) is None]
        if not missing or len(missing) == len(summaries):
            continue
        rest = len(summaries) - len(missing)
        others = "the other shard" if rest == 1 else f"the other {rest} shards"
        result = f"the job's is that of {others}" if overall[key] is not None else f"{others} cannot stand for the job"
        yield f"{', '.join(missing)} {'has' if len(missing) == 1 else 'have'} no {label}: {result}"


def _disturbed(
    documents: Sequence[Mapping[str, Any]], summaries: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> Iterator[str]:
    """Yield the shards that ended early or stood still, so that the job's rates and projections do not hold."""
    for document, summary, name in zip(documents, summaries, names, strict=True):
        metadata, done = document.get("run_metadata", {}), summary.get("total_sequences")
        if planned_tokens_per_sequence(metadata, done) is not None:
            planned = metadata["workload"]["num_sequences"]
            how_far = f"{done:,} of {planned:,} sequences" if done < planned else f"{done:,} sequences"
            yield (
                f"{name} ended early, after {how_far}: the job's projections take what it has "
                "done for a sample of the rest"
            )
        stood_still = [(summary.get("stopped_seconds"), "was stopped"), (summary.get("suspended_seconds"), "slept")]
        for seconds, what in stood_still:
            if seconds and summary_interrupted(summary):
                yield f"{name} {what} for {number(seconds, 1, ' s')}: measure again"


def _unequal_weights(
    summaries: Sequence[Mapping[str, Any]], batches: Sequence[Mapping[str, Any]], overall: Mapping[str, Any]
) -> Iterator[str]:
    """Yield averages in which a short shard counts as much as a long one, where that changes them considerably."""
    by_time = weighted_mean((shard.get("avg_gpu_util"), shard.get("elapsed_seconds") or 0.0) for shard in summaries)
    by_batch = mean(record.get("packing_efficiency") for record in batches)
    for key, weighted, one, unit in (
        ("avg_gpu_util", by_time, 1.0, "the time of each shard"),
        ("avg_packing_efficiency", by_batch, 100.0, "the batches of each shard"),
    ):
        average = overall[key]
        if average is None or weighted is None or one * abs(average - weighted) < CONSIDERABLE_POINTS:
            continue
        label, shown, other = _AVERAGES[key], percent(one * average), percent(one * weighted)
        yield f"the {label} of {shown} is the mean of the shards' averages; weighted by {unit}, it is {other}"


def _possible_copies(documents: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Iterator[str]:
    """Yield what may be copies of each other, without proof in the files."""
    for (name, one), (other_name, other) in combinations(zip(names, documents, strict=True), 2):
        if one == other:
            yield f"{name} and {other_name} are equal: if one is a copy of the other, its work counts twice"


def differing_models(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the model names in the metadata of the shards if there is more than one, else an empty list.

    Args:
        documents: Valid telemetry documents. Those without a model name are ignored.
    """
    names = {
        str(name) for document in documents if (name := document.get("run_metadata", {}).get("model_name")) is not None
    }
    return sorted(names) if len(names) > 1 else []


def _all_or_none(values: Iterable[Any]) -> list[Any] | None:
    known = list(values)
    return None if any(value is None for value in known) else known
