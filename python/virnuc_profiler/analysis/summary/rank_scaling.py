# SPDX-License-Identifier: MIT
"""How well the ranks of a job work together: their rates, what start-up and the end of the job cost, and stragglers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

from virnuc_profiler.analysis.summary.scaling_efficiency import calculate_scaling_efficiency
from virnuc_profiler.analysis.summary.shard_times import last_completion_ns, shard_spans
from virnuc_profiler.telemetry.rates import ratio

STRAGGLER: Final = 0.9
"""A rank is a straggler if its rate is below this share of the median of the others."""


@dataclass(frozen=True, slots=True)
class RankFigures:
    """What one rank did for a job.

    Attributes:
        rank: Name of the rank.
        tokens: Number of its tokens.
        tokens_per_sec: Its rate from its first to its last batch; None with fewer than two batches.
        late_seconds: Time from the start of the job to the start of this rank.
        start_up_seconds: Time from its start to its first complete batch; None if it was not measured.
        idle_seconds: Time from its last batch to that of the job, in which no work was left for it.
        joules: Energy of its device; None if it was not measured.
        straggler: Whether it is much slower than the others.
        diagnosis: What limits it, in words; None if it was not diagnosed.
    """

    rank: str
    tokens: int
    tokens_per_sec: float | None
    late_seconds: float
    start_up_seconds: float | None
    idle_seconds: float
    joules: float | None
    straggler: bool
    diagnosis: str | None


@dataclass(frozen=True, slots=True)
class RankScaling:
    """What the ranks of a job did together.

    Attributes:
        ranks: Figures of each rank.
        seconds: Time from the start of the first rank to the last batch of all.
        tokens_per_sec: Rate of the job over this time.
        start_up_share: Share of the ranks' time until their first complete batch; None if one did not measure it, or
            found no work.
        tail_share: Share of the ranks' time after their last batches.
        joules: Energy of all devices; None if one was not measured.
        efficiency_percent: Rate of the job as a percentage of that of as many single ranks; None without a baseline.
        baseline_tokens_per_sec: Rate of one rank alone; None without a baseline.
    """

    ranks: tuple[RankFigures, ...]
    seconds: float
    tokens_per_sec: float
    start_up_share: float | None
    tail_share: float
    joules: float | None
    efficiency_percent: float | None
    baseline_tokens_per_sec: float | None


def scaling_of_ranks(
    documents: Sequence[Mapping[str, Any]],
    summaries: Sequence[Mapping[str, Any]],
    baseline_tokens_per_sec: float | None = None,
) -> RankScaling | None:
    """Return how the ranks of a job worked together; None if the documents are not those of ranks that say when.

    Args:
        documents: Valid telemetry documents. Several may be of one rank, which ran them one after the other.
        summaries: Summary of each document.
        baseline_tokens_per_sec: Whole-run rate of the same work in one rank; None if it is unknown.
    """
    names = [rank_name(document) for document in documents]
    seconds = [summary.get("elapsed_seconds") for summary in summaries]
    worked = [summary for summary, each in zip(summaries, documents, strict=True) if each["per_batch_metrics"]]
    if None in names or None in seconds or any(summary.get("total_tokens") is None for summary in worked):
        return None
    spans = shard_spans(documents, [float(value or 0.0) for value in seconds])
    starts = [span[0] for span in spans if span is not None]
    if not worked or len(starts) < len(documents):
        return None
    ends = [
        last_completion_ns(document) if document["per_batch_metrics"] else start
        for document, start in zip(documents, starts, strict=True)
    ]
    if None in ends:
        return None
    parts: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        parts.setdefault(str(name), []).append(place)
    first_ns, last_ns = min(starts), max(end for end in ends if end is not None)
    rows = []
    for name, places in parts.items():
        begin = min(places, key=starts.__getitem__)
        tokens = sum(int(summaries[place].get("total_tokens") or 0) for place in places)
        end_ns = max(ends[place] or 0 for place in places)
        start_up = summaries[begin].get("start_up_seconds")
        batches = documents[begin]["per_batch_metrics"]
        first_batch = (batches[0].get("num_tokens") or 0) if batches else 0
        active = (end_ns - starts[begin]) / 1e9 - (start_up or 0.0)
        rows.append(
            RankFigures(
                rank=name,
                tokens=tokens,
                tokens_per_sec=ratio(tokens - (first_batch if start_up else 0), active) if active > 0 else None,
                late_seconds=(starts[begin] - first_ns) / 1e9,
                start_up_seconds=start_up,
                idle_seconds=(last_ns - end_ns) / 1e9,
                joules=_sum_or_none([_joules(summaries[place]) for place in places]),
                straggler=False,
                diagnosis=summaries[places[-1]].get("diagnosis"),
            )
        )
    return _together(_with_stragglers(rows), (last_ns - first_ns) / 1e9, baseline_tokens_per_sec)


def rank_name(document: Mapping[str, Any]) -> str | None:
    """Return the name of the rank that wrote a document; None if it is of no rank.

    Args:
        document: Valid telemetry document.
    """
    metadata = document.get("run_metadata", {})
    embed, workload = metadata.get("embed"), metadata.get("workload")
    if isinstance(embed, Mapping) and isinstance(embed.get("rank"), str):
        return str(embed["rank"])
    part = workload.get("part") if isinstance(workload, Mapping) else None
    return f"{part.get('index')}of{part.get('count')}" if isinstance(part, Mapping) else None


def _together(rows: Sequence[RankFigures], seconds: float, baseline: float | None) -> RankScaling | None:
    if seconds <= 0:
        return None
    tokens = sum(row.tokens for row in rows)
    rank_seconds = len(rows) * seconds
    before = _sum_or_none([None if row.start_up_seconds is None else row.late_seconds + row.start_up_seconds
                           for row in rows])  # fmt: skip
    efficiency = None
    if baseline is not None:
        efficiency = calculate_scaling_efficiency(tokens / baseline, seconds, len(rows))["efficiency"]
    return RankScaling(
        ranks=tuple(rows),
        seconds=seconds,
        tokens_per_sec=tokens / seconds,
        start_up_share=None if before is None else before / rank_seconds,
        tail_share=sum(row.idle_seconds for row in rows) / rank_seconds,
        joules=_sum_or_none([row.joules for row in rows]),
        efficiency_percent=efficiency,
        baseline_tokens_per_sec=baseline,
    )


def _with_stragglers(rows: Sequence[RankFigures]) -> list[RankFigures]:
    marked = []
    for row in rows:
        others = [other.tokens_per_sec for other in rows if other is not row and other.tokens_per_sec is not None]
        slow = row.tokens_per_sec is not None and bool(others) and row.tokens_per_sec < STRAGGLER * median(others)
        marked.append(replace(row, straggler=slow))
    return marked


def _joules(summary: Mapping[str, Any]) -> float | None:
    """Return the energy of a whole run, from the part of it that was measured."""
    joules, measured, elapsed = (summary.get(key) for key in ("energy_joules", "energy_seconds", "elapsed_seconds"))
    if joules is None or not measured or elapsed is None:
        return None
    return float(joules) * max(1.0, float(elapsed) / float(measured))


def _sum_or_none(values: Sequence[float | None]) -> float | None:
    return None if any(value is None for value in values) else sum(value or 0.0 for value in values)
