# SPDX-License-Identifier: MIT
"""Baselines as text: a table of all, and what one of them holds."""

from __future__ import annotations

from collections.abc import Sequence

from virnuc_profiler.analysis.comparison.compared import configuration_text
from virnuc_profiler.analysis.comparison.differences import facts_named, value_text
from virnuc_profiler.analysis.comparison.effects import geometric_mean
from virnuc_profiler.analysis.comparison.metrics import METRICS, STEADY, WHOLE_RUN, Metric
from virnuc_profiler.reports.columns import fitted
from virnuc_profiler.reports.comparison.baseline_store import Baseline
from virnuc_profiler.reports.comparison.comparison_rows import side_text, value_of
from virnuc_profiler.reports.figures import NOT_MEASURED, words

_LISTED = ("device.name", "model.model_name", "model.precision", "workload.num_sequences")


def render_baselines(baselines: Sequence[Baseline], columns: int) -> str:
    """Return a line for each baseline.

    Args:
        baselines: The baselines.
        columns: Width of the text.
    """
    headings = ["Name", "Saved", "Runs", "Device", "Model", "Precision", "Sequences", "Tokens/s"]
    return "\n".join(fitted([headings, *map(_listed, baselines)], columns))


def render_baseline_file(baseline: Baseline, columns: int) -> str:
    """Return what a baseline holds: its runs, their values, and the facts that are checked.

    Args:
        baseline: The baseline.
        columns: Width of the text.
    """
    side = baseline.side
    lines = [side_text(side), f"Saved {words(baseline.saved)} by version {words(baseline.version)}", ""]
    headings = ["Run", *(metric.label for metric in METRICS)]
    rows = [
        [words(run.source), *(value_of(metric, run.values.get(metric.name)) for metric in METRICS)]
        for run in side.succeeded()
    ]
    lines += [*fitted([headings, *rows], columns), ""]
    if not side.is_sweep:
        lines.append(f"Configuration: {words(configuration_text(side.succeeded()[0].configuration), 500)}")
    names = dict.fromkeys(name for run in side.succeeded() for name in run.facts)
    lines += [f"{words(name)}: {words(value_text(facts_named(name, side.succeeded())))}" for name in names]
    return "\n".join(lines)


def _listed(baseline: Baseline) -> list[str]:
    runs = baseline.side.succeeded()
    facts = (words(value_text(facts_named(name, runs)) or None) for name in _LISTED)
    rates = (_mean(metric, baseline) for metric in (STEADY, WHOLE_RUN))
    return [baseline.name, words(baseline.saved), str(len(runs)), *facts, next(filter(None, rates), NOT_MEASURED)]


def _mean(metric: Metric, baseline: Baseline) -> str | None:
    values = [run.values[metric.name] for run in baseline.side.succeeded() if metric.name in run.values]
    return value_of(metric, geometric_mean(values)) if values else None
