# SPDX-License-Identifier: MIT
"""A result in a few lines, for hovering and for those who do not see a chart, in the words of the tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from virnuc_profiler.reports.coverage_text import with_coverage
from virnuc_profiler.reports.figures import number, percent, rate, share, times
from virnuc_profiler.reports.sweeps.sweep_columns import (
    gigabytes,
    interval,
    measured_for,
    reason,
    seen,
    sequences_per_sec,
    with_half_width,
)
from virnuc_profiler.reports.sweeps.sweep_notes import failure_text, held_down, stood_still
from virnuc_profiler.sweep.results.document import Document
from virnuc_profiler.sweep.results.result import Result

STEP_TITLES: Final = {
    "baseline": "Baseline",
    "dataloader": "DataLoader",
    "packing": "Packing",
    "interaction": "Interaction",
    "grid": "Grid",
    "search": "Search",
    "confirmation": "Confirmation",
    "validation": "Validation",
}
"""Short titles of the steps, in their order."""


def details(document: Document, result: Result) -> Iterator[str]:
    """Yield what is known of a result of a step.

    Args:
        document: Document of the step.
        result: The result.
    """
    yield str(result.configuration)
    yield from measured_facts(result)
    if result.speedup is not None and document.step != "baseline":
        standing = result.standing
        span = "" if standing is None else interval(standing.speedup_low, standing.speedup_high)
        yield f"{times(result.speedup, beside=None)}{span} vs baseline"
    yield from conditions(result)


def measured_facts(result: Result) -> Iterator[str]:
    """Yield the figures of a result, or why it has none.

    Args:
        result: The result.
    """
    if not result.succeeded:
        yield f"{reason(result)}: {failure_text(result)}"
        return
    yield f"{with_half_width(rate(sequences_per_sec(result)), result)} sequences/s"
    if result.joules_per_sequence is not None:
        yield f"{number(result.joules_per_sequence, 2)} J/sequence"
    utilization = with_coverage(percent(result.gpu_util), seen(result))
    yield f"{gigabytes(result.peak_memory_gb)} of memory, GPU {utilization}"
    yield f"packing {share(result.packing_efficiency)}, measured {measured_for(result)}"


def conditions(result: Result) -> Iterator[str]:
    """Yield what disturbed a measurement.

    Args:
        result: The result.
    """
    if result.succeeded and result.throttled:
        yield f"throttled {held_down(result)}"
    if result.interrupted:
        yield f"interrupted: {stood_still(result)}"
    if result.standing is not None and result.standing.doubts:
        yield f"disturbed: {'; '.join(result.standing.doubts)}"
    if result.measured_under:
        yield f"measured under another {', '.join(map(str, result.measured_under))}"
