# SPDX-License-Identifier: MIT
"""The columns of a sweep's tables, and the text of their cells. What was not measured prints as ``n/a``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from virnuc_profiler.analysis.gpu.coverage import Coverage, percent_bounds
from virnuc_profiler.analysis.selection import INTERRUPTED, THROTTLED
from virnuc_profiler.analysis.timing.statistics import measured
from virnuc_profiler.reports.figures import NOT_MEASURED, number, percent, rate, share, times
from virnuc_profiler.reports.sweeps.table_layout import FAILED, Column
from virnuc_profiler.sweep.plan.objective import ENERGY
from virnuc_profiler.sweep.results.document import Document
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.verdicts.standings import says_something
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.targets.knobs.knob import Knob
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.values import printable

MARK: Final = "*"
"""Mark of a GPU utilization that does not stand for the whole run."""

UNBOUNDED: Final = "(?)"
"""Stands for an interval that says nothing, because too few measurements were repeated, or they differ too much."""

SAVING: Final = "Saving"
"""Heading of the energy of the baseline over that of a configuration, as `Speedup` is that of the times."""

_SHORT: Final = {"Prefetch": "Pref", "Precision": "Prec"}
"""Shorter headings of knobs, for narrow tables."""

TIED: Final = "="
"""Mark of a speedup that is not told apart from that of the best."""


def knob_columns(document: Document, widths: Mapping[str, int] | None = None) -> list[Column]:
    """Return a column for each knob that the step varies.

    Args:
        document: Document of the step.
        widths: Smallest widths of some columns, by the name of the knob.
    """
    return [_knob_column(document.knobs[name], (widths or {}).get(name, 0)) for name in document.grid]


def _knob_column(knob: Knob, width: int) -> Column:
    heading, code = printable(knob.heading), knob.code or ""
    return Column(
        heading.ljust(width),
        lambda result: printable(knob.text(result.configuration[knob.name])),
        short=_SHORT.get(heading, ""),
        code=code,
        legend=f"{code}: {knob.name}" if code else "",
        may_be_cut=True,
    )


def named(configuration: Configuration, names: Iterable[str]) -> str:
    """Return the values of the knobs that a step varies."""
    return ", ".join(f"{name}={configuration.knobs[name].text(configuration[name])}" for name in names)


def rate_columns(document: Document) -> list[Column]:
    """Return the column of sequences per second, with the digits that show whether each is below that of the best."""
    best = None if document.best is None else sequences_per_sec(document.best)
    others = [found for one in document.results if one.succeeded and (found := sequences_per_sec(one)) != best]
    known = measured(others)
    rival = None if best is None else min(known, key=lambda other: abs(other - best), default=None)

    def text(result: Result) -> str:
        found = sequences_per_sec(result)
        return with_half_width(rate(found, beside=rival if found == best else best), result)

    return [Column("Seq/sec", unless_failed(text))]


def packing_column(document: Document) -> Column:
    """Return the column of packing efficiencies, with the digits that show whether each reaches the required one."""
    required = document.min_packing
    cell = unless_failed(lambda result: share(result.packing_efficiency, beside=required))
    return Column("Pack Eff", cell, short="Pack", leaves=4)


def advantage_columns(document: Document) -> list[Column]:
    """Return the column of speedups; of energies, and of how much less they are, where these are minimized."""
    tied = sum(1 for one in document.results if one.standing is not None and one.standing.tied)
    marks_ties = tied > 1  # the best alone is tied with nothing
    advantage = unless_failed(lambda result: _speedup(result, marks_ties=marks_ties))
    if document.objective.kind != ENERGY:
        return [Column("Speedup", advantage)]
    return [Column("J/seq", unless_failed(joules), leaves=7), Column(SAVING, advantage)]


def joules(result: Result) -> str:
    """Return the energy of a sequence, over all measurements, where the sweep minimizes it."""
    return number(None if result.standing is None else result.standing.cost, 2)


def last_columns(document: Document) -> list[Column]:
    """Return the columns behind those that every table has: for how long was measured, where that is known."""
    if all(result.measured_sec is None for result in document.results):
        return []
    return [MEASURED]


def sequences_per_sec(result: Result) -> float | None:
    """Return the rate that a table shows: steady, and over all blocks, where there is one."""
    return result.sequences_per_sec if result.standing is None else result.standing.rate


def tokens_per_sec(result: Result) -> float | None:
    """Return the tokens of the sequences that :func:`sequences_per_sec` counts."""
    shown, whole = sequences_per_sec(result), ratio(result.tokens_per_sec, result.sequences_per_sec)
    return None if shown is None or whole is None else shown * whole


def with_half_width(text: str, result: Result) -> str:
    """Append half the width of the interval of a rate, in percent rounded up, where it is known."""
    standing = result.standing
    if standing is None or not standing.rate or standing.rate_low is None or standing.rate_high is None:
        return text
    if not says_something(standing.rate_low, standing.rate_high):
        return f"{text} {UNBOUNDED}"
    half = 100 * (standing.rate_high - standing.rate_low) / (2 * standing.rate)
    return f"{text} ±{max(1, math.ceil(10 * half - 1e-9)) / 10:.1f}%"


def measured_for(result: Result) -> str:
    """Return how often and for how long a configuration was measured after its start-up, such as ``5 x 3.1 s``."""
    count = 1 if result.standing is None else result.standing.measurements
    times_measured = f"{count} x " if count > 1 else ""
    return NOT_MEASURED if result.measured_sec is None else f"{times_measured}{result.measured_sec:,.1f} s"


def interval(low: float | None, high: float | None) -> str:
    """Return the interval of a speedup, such as `` (0.99-1.03)``; empty where it is not known."""
    if low is None:
        return ""
    return f" ({number(low, 2)}-{number(high, 2)})" if says_something(low, high) else f" {UNBOUNDED}"


def unless_failed(text: Callable[[Result], str]) -> Callable[[Result], str]:
    """Return the text of a cell that a failed configuration does not have."""
    return lambda result: text(result) if result.succeeded else FAILED


def gigabytes(value: float | None) -> str:
    """Return device memory, such as ``5.98 GB``."""
    return number(value, 2, " GB")


def seconds(value: float | None) -> str:
    """Return a time, such as ``3.1 s``."""
    return NOT_MEASURED if value is None else f"{value:,.1f} s"


def seen(result: Result) -> Coverage | None:
    """Return how much of a run the GPU was sampled in."""
    return Coverage.from_json(result.gpu_util_coverage)


def off_by(result: Result) -> float:
    """Return by how many points the GPU utilization may be off, given what was sampled of the run."""
    if result.gpu_util is None:
        return 0.0
    low, high = percent_bounds(result.gpu_util, seen(result))
    return max(result.gpu_util - low, high - result.gpu_util)


def reason(result: Result) -> str:
    """Return why a configuration failed, in a word."""
    return f"{result.reason}{', predicted' if result.predicted else ''}"


def _utilization(result: Result) -> str:
    return percent(result.gpu_util) + (MARK if off_by(result) > 0 else "")


def _speedup(result: Result, *, marks_ties: bool) -> str:
    standing = result.standing
    if standing is None or result.speedup is None:
        return times(result.speedup)
    mark = f" {TIED}" if standing.tied and marks_ties else ""
    if not (span := interval(standing.speedup_low, standing.speedup_high)):
        return f"{times(result.speedup)}{mark}"
    return f"{times(result.speedup, beside=None)}{span}{mark}"  # the interval says which digits mean something


def _status(result: Result) -> str:
    if result.succeeded:
        return THROTTLED if result.throttled else INTERRUPTED if result.interrupted else "OK"
    return printable(reason(result))


def _all_measured(results: Sequence[Result]) -> str:
    """Return for how long the configurations were measured, in one sentence."""
    known = [one for one in results if one.succeeded and one.measured_sec is not None]
    if not known:
        return ""
    least, most = (find(known, key=lambda one: one.measured_sec or 0.0) for find in (min, max))
    counts = {1 if one.standing is None else one.standing.measurements for one in known}
    fewest, most_often = min(counts), max(counts)
    joined = " or " if most_often == fewest + 1 else " to "
    often = "" if most_often == 1 else f", {joined.join(dict.fromkeys((str(fewest), str(most_often))))} times each"
    times_measured = dict.fromkeys((f"{least.measured_sec:,.1f}", f"{most.measured_sec:,.1f}"))
    return f"Measured for {' to '.join(times_measured)} s{often}."


TOK: Final = Column("Tok/sec ", unless_failed(lambda result: number(tokens_per_sec(result))), leaves=2)
GPU: Final = Column("GPU Util", unless_failed(_utilization), short="GPU", leaves=3)
MEM: Final = Column("Memory ", lambda result: number(result.peak_memory_gb, 2, "G"), short="Mem", leaves=5)
STATUS: Final = Column("Status", _status, leaves=6)
MEASURED: Final = Column("Measured", unless_failed(measured_for), leaves=1, summary=_all_measured)
