# SPDX-License-Identifier: MIT
"""How the ranks of a job worked together, as lines of a report."""

from __future__ import annotations

from collections.abc import Iterator

from virnuc_profiler.analysis.summary.rank_scaling import RankFigures, RankScaling
from virnuc_profiler.analysis.summary.scaling_efficiency import REQUIRED_EFFICIENCY_PERCENT
from virnuc_profiler.reports.figures import NOT_MEASURED
from virnuc_profiler.telemetry.number_text import number, percent, share
from virnuc_profiler.telemetry.values import printable

_MAX_DIAGNOSIS = 400


def scaling_lines(scaling: RankScaling) -> Iterator[tuple[str, str]]:
    """Yield label and text of each line.

    Args:
        scaling: What the ranks did.
    """
    yield "Rate of all", f"{number(scaling.tokens_per_sec)} tokens/s over {number(scaling.seconds, 1, ' s')}"
    start_up = NOT_MEASURED if scaling.start_up_share is None else share(scaling.start_up_share)
    yield "Until first batches", f"{start_up} of the ranks' time"
    yield "After last batches", f"{share(scaling.tail_share)} of the ranks' time"
    if scaling.joules is not None:
        yield "Energy", number(scaling.joules / 1e3, 1, " kJ")
    if scaling.efficiency_percent is not None:
        verdict = "PASS" if scaling.efficiency_percent >= REQUIRED_EFFICIENCY_PERCENT else "FAIL"
        yield (
            "Efficiency (PERF-03)",
            f"{percent(scaling.efficiency_percent)} of {len(scaling.ranks)} x "
            f"{number(scaling.baseline_tokens_per_sec)} tokens/s, at least "
            f"{percent(REQUIRED_EFFICIENCY_PERCENT)} required: {verdict}",
        )
    for rank in scaling.ranks:
        yield f"Rank {printable(rank.rank)}", _of_rank(rank)


def straggler_sentences(scaling: RankScaling) -> Iterator[str]:
    """Yield a sentence on each rank that is much slower than the others, with its diagnosis.

    Args:
        scaling: What the ranks did.
    """
    for rank in scaling.ranks:
        if rank.straggler:
            why = "" if rank.diagnosis is None else f": {printable(rank.diagnosis, _MAX_DIAGNOSIS)}"
            yield f"rank {printable(rank.rank)} is slower than the others{why}"


def _of_rank(rank: RankFigures) -> str:
    parts = [f"{number(rank.tokens_per_sec)} tokens/s"]
    if rank.late_seconds >= 1:
        parts.append(f"began {number(rank.late_seconds, 1, ' s')} late")
    if rank.start_up_seconds is not None:
        parts.append(f"start-up {number(rank.start_up_seconds, 1, ' s')}")
    parts.append(f"idle at the end {number(rank.idle_seconds, 1, ' s')}")
    if rank.joules is not None:
        parts.append(number(rank.joules / 1e3, 1, " kJ"))
    return ", ".join(parts)
