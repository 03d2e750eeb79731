# SPDX-License-Identifier: MIT
"""What the ranges of a capture explain of its GPU work, as text, with warnings about what they do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from virnuc_profiler.analysis.nsys.correlation import StageCorrelation
from virnuc_profiler.analysis.nsys.gpu_work import GpuWork
from virnuc_profiler.analysis.nsys.operator_totals import OperatorTotals
from virnuc_profiler.analysis.nsys.totals import RangeTotals
from virnuc_profiler.reports.columns import fitted, shortened
from virnuc_profiler.reports.figures import milliseconds, share, words

EXPLAINED_SHARE: Final = 0.9
"""Below this share of the GPU time in ranges, there is a warning."""

_SHOWN_NAMES: Final = 3
WORK_COLUMNS: Final = ("GPU work of the capture", "Operations", "GPU sum", "Share", "GPU busy")
"""Headings of :func:`work_rows`; times are in ms."""


def render_gpu_work(work: GpuWork, width: int) -> list[str]:
    """Render one line for each part of the GPU work; none if there is no work.

    Args:
        work: GPU work of a capture.
        width: Maximum number of characters of a line.
    """
    return ["", *fitted([WORK_COLUMNS, *work_rows(work)], width)] if work.all.operations else []


def work_rows(work: GpuWork) -> list[tuple[str, ...]]:
    """Return the cells of each part of the GPU work, and of all of it.

    Args:
        work: GPU work of a capture.
    """
    parts = {
        "launched in these ranges": work.in_ranges,
        "outside all of them": work.outside_ranges,
        "by other threads meanwhile": work.other_threads,
        "without a launching call": work.without_launch,
        "all": work.all,
    }
    return [
        (
            name,
            f"{part.operations:,}",
            milliseconds(part.total_ns),
            share(part.total_ns / work.all.total_ns if work.all.total_ns else None),
            milliseconds(part.busy_ns),
        )
        for name, part in parts.items()
    ]


def work_warnings(work: GpuWork) -> Iterator[str]:
    """Yield a warning if much of the GPU time is in no range.

    Args:
        work: GPU work of a capture.
    """
    explained = work.share_in_ranges
    if explained is not None and explained < EXPLAINED_SHARE:
        yield (
            f"{share(1 - explained)} of the GPU time was not launched in these ranges, and is in no line of theirs; "
            "the table of the GPU work says where it was launched"
        )


def name_warnings(totals: RangeTotals | OperatorTotals) -> Iterator[str]:
    """Yield a warning if there are names without GPU work.

    Args:
        totals: Totals by range name or operator, of a capture that has GPU work.
    """
    idle = [at for at, on_gpu in enumerate(totals.on_gpu.tolist()) if not on_gpu]
    if idle:
        shown = [shortened(words(totals.label(at)[1]), 40) for at in islice(idle, _SHOWN_NAMES)]
        more = f" and {len(idle) - len(shown):,} more" if len(idle) > len(shown) else ""
        yield f"{len(idle):,} of {len(totals):,} names have no GPU work: {', '.join(shown)}{more}"


def stage_warnings(stages: Sequence[StageCorrelation]) -> Iterator[str]:
    """Yield a warning for each stage that the run timed on the device, but whose ranges have no GPU work.

    Args:
        stages: Stages of the run with their matched ranges.
    """
    for stage in stages:
        timed = [comparison for comparison in stage.batches if comparison.device_ns is not None]
        without = sum(not comparison.projection.operations for comparison in timed)
        if without:
            yield (
                f"{words(stage.name)}: {without:,} of {len(timed):,} matched ranges have no GPU work, "
                "but the run timed them on the device"
            )
