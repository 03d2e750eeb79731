# SPDX-License-Identifier: MIT
"""How much of a run a sampled value stands for, as a remark behind the value."""

from __future__ import annotations

from virnuc_profiler.analysis.gpu.coverage import MIN_SHARE, SMALL_BLUR, WHOLE_SHARE, Coverage
from virnuc_profiler.reports.figures import NOT_MEASURED, counted

POINTS = " points"
"""Unit in which percentages are off. The error of other values is a percentage of them."""


def with_coverage(text: str, coverage: Coverage | None, unit: str | None = POINTS) -> str:
    """Return the text of a sampled value with its coverage, if the value does not stand for the whole run.

    Examples are ``71.2% (of 62% of the run, 38 readings)``, ``71.2% (within 10 points: short run)`` and
    ``n/a (17% of the run sampled, 11 readings)``.

    Args:
        text: The value as text.
        coverage: Coverage of the run; None, if it is unknown, leaves the text as it is.
        unit: Unit of the error that averaging causes in a short run; None for values that it does not falsify.
    """
    if coverage is None:
        return text
    if text == NOT_MEASURED:
        return f"{text} ({_reason(coverage)})" if not coverage.sufficient else text
    remarks = []
    if coverage.share < WHOLE_SHARE:
        remarks.append(f"of {_percent(coverage.share)} of the run, {_readings(coverage)}")
    if unit is not None and coverage.blurred_share > SMALL_BLUR:
        remarks.append(f"within {100 * coverage.blurred_share:.0f}{unit}: short run")
    return f"{text} ({'; '.join(remarks)})" if remarks else text


def _reason(coverage: Coverage) -> str:
    """Return why a value is not given."""
    if coverage.share < MIN_SHARE:
        return f"{_percent(coverage.share)} of the run sampled, {_readings(coverage)}"
    return "the run is too short to sample"


def _readings(coverage: Coverage) -> str:
    return counted(coverage.readings, "reading")


def _percent(share: float) -> str:
    """Format a share in whole percent, never rounding a part up to all or down to nothing."""
    return f"{100 * share:.0f}%" if share >= 0.01 else "under 1%"
