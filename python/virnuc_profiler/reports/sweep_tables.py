# SPDX-License-Identifier: MIT
"""The tables of a sweep, from the documents of its steps. What was not measured prints as ``n/a``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from virnuc_profiler.reports.coverage_text import with_coverage
from virnuc_profiler.reports.figures import (
    NOT_MEASURED,
    counted,
    limit,
    number,
    percent,
    rate,
    share,
    times,
    with_interval,
)
from virnuc_profiler.reports.sweeps.confirmation_table import render_confirmation
from virnuc_profiler.reports.sweeps.sweep_columns import (
    GPU,
    MEM,
    STATUS,
    TOK,
    advantage_columns,
    gigabytes,
    knob_columns,
    last_columns,
    measured_for,
    named,
    packing_column,
    rate_columns,
    seconds,
    seen,
    sequences_per_sec,
    tokens_per_sec,
    with_half_width,
)
from virnuc_profiler.reports.sweeps.sweep_notes import failure_text, held_down, rate_notes, remarks, stood_still
from virnuc_profiler.reports.sweeps.sweep_verdicts import best_label
from virnuc_profiler.reports.sweeps.table_layout import Column, rule, table
from virnuc_profiler.sweep.plan.objective import ENERGY
from virnuc_profiler.sweep.plan.steps import MIN_PACKING
from virnuc_profiler.sweep.results.choice import missed_packing
from virnuc_profiler.sweep.results.document import BestConfiguration, Document, Projection
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.telemetry.values import printable

_LONGEST_REASON: Final = 1000
"""More characters of the reason for a choice are cut, as they can only come from a damaged file."""


def render_step(document: Document, width: int | None = None) -> str:
    """Return the table of any step. Sentences below it are lines of any length.

    Args:
        document: Document of the step.
        width: Maximum number of characters of a line of the table; None for no limit.
    """
    return _RENDERERS[document.step](document, width)


def render_baseline(document: Document, width: int | None = None) -> str:  # noqa: ARG001
    """Return the baseline's figures."""
    lines = [*map(_figures, document.results), *rate_notes(document.results)]
    of_defaults = all(result.configuration == document.knobs.baseline for result in document.results)
    title = f"Baseline Configuration{' (defaults)' if of_defaults else ''}"
    return "\n".join([title, rule(34), *lines, rule(34)])


def render_dataloader(document: Document, width: int | None = None) -> str:
    """Return a line for each number of workers and prefetch factor."""
    figures = [TOK, GPU, MEM, *advantage_columns(document), *last_columns(document)]
    columns = [*knob_columns(document), *rate_columns(document), *figures]
    return _sweep_table("DataLoader Parameter Sweep", 67, columns, document, width)


def render_packing(document: Document, width: int | None = None) -> str:
    """Return a line for each token budget and buffer size."""
    knobs = knob_columns(document, {"token_budget": 7})
    figures = [packing_column(document), GPU, MEM, *advantage_columns(document), *last_columns(document)]
    columns = [*knobs, *rate_columns(document), *figures]
    return _sweep_table("Packing Parameter Sweep", 70, columns, document, width)


def render_interaction(document: Document, width: int | None = None) -> str:
    """Return a line for each number of workers and token budget, including the failed ones."""
    figures = [*rate_columns(document), packing_column(document), GPU, MEM, *advantage_columns(document), STATUS]
    columns = [*knob_columns(document), *figures, *last_columns(document)]
    title = "Parameter Interaction Sweep (num_workers x token_budget)"
    lines = table(title, 70, columns, document.results, width)
    best = document.best
    if best is None:
        lines.append(f"{best_label(document)}: none, no configuration succeeded")
    else:
        required, packing = document.min_packing, share(best.packing_efficiency, beside=document.min_packing)
        met = f">{_required(required)} packing" if document.constraint_met else f"{packing} packing"
        text = f"{rate(sequences_per_sec(best))} seq/sec, {met}, no OOM"
        lines.append(f"{best_label(document)}: {named(best.configuration, document.grid)} ({text})")
    return "\n".join([*lines, *remarks(document)])


def render_grid(document: Document, width: int | None = None) -> str:
    """Return a line for each configuration of a target's own knobs."""
    figures = [TOK, packing_column(document), GPU, MEM, *advantage_columns(document), *last_columns(document)]
    title = f"Grid of {printable(document.knobs.target)}"
    return _sweep_table(title, 70, [*knob_columns(document), *rate_columns(document), *figures], document, width)


def render_search(document: Document, width: int | None = None) -> str:
    """Return a line for each configuration that a search has tried, in the order in which it first did."""
    figures = [packing_column(document), MEM, *advantage_columns(document), *last_columns(document)]
    return _sweep_table(
        "Adaptive Search", 80, [*knob_columns(document), *rate_columns(document), *figures], document, width
    )


def render_validation(document: Document, width: int | None = None) -> str:  # noqa: ARG001
    """Return the best configuration on the longer workload, and what it means for a large job."""
    reason = "" if document.choice is None else document.choice.reason
    required = document.min_packing
    if required is None and document.knobs.is_builtin:
        required = MIN_PACKING  # older files do not say
    return _validation(document.results, reason, document.projection, document.conditions.workload, required)


def render_best(best: BestConfiguration) -> str:
    """Return the recommended configuration as the table of its validation."""
    return _validation(
        [best.validation], best.choice.reason, best.projection, best.validation_workload, best.required_packing
    )


def _validation(
    results: Sequence[Result],
    reason: str,
    projection: Projection | None,
    workload: Mapping[str, int],
    min_packing: float | None,
) -> str:
    lines = ["Validation of the Chosen Configuration", rule(38)]
    if not results:
        return "\n".join([*lines, f"Not run: {printable(reason)}", rule(38)])
    lines += [
        *map(_figures, results),
        f"Workload: {counted(workload['num_sequences'], 'sequence')}, {counted(workload['tokens'], 'token')}",
        f"Chosen for: {printable(reason, _LONGEST_REASON)}",
        *rate_notes(results),
        *_missed_packing(results, min_packing),
        rule(38),
    ]
    return "\n".join([*lines, *_projected(projection)])


def _projected(projection: Projection | None) -> list[str]:
    if projection is None or projection.hours is None:
        return [f"Projected run time: {NOT_MEASURED}"]
    job = f"Projected run time for {projection.sequences:,} sequences"
    lines = [f"{job}: {number(projection.hours, 2)} hours at the rate of the whole run, start-up included"]
    if projection.steady_hours is not None:
        hours = f"{number(projection.steady_hours, 2)} hours"
        hours = with_interval(hours, projection.low_hours, projection.high_hours)
        lines.append(f"{job}: {hours} with one start-up, then at the steady rate")
    return lines


def _missed_packing(results: Sequence[Result], required: float | None) -> list[str]:
    """Return a line if a validation misses the packing that the choice requires."""
    if required is None:
        return []
    missed = [one for one in results if one.succeeded and not (one.packing_efficiency or 0.0) >= required]
    return [
        f"Packing rule missed: {missed_packing(one.packing_efficiency, required)} on this workload, where "
        f"{_required(required)} is required"
        for one in missed
    ]


def _sweep_table(title: str, min_width: int, columns: Sequence[Column], document: Document, width: int | None) -> str:
    """Return a table of the successful configurations, with the best, the baseline and the failed ones below."""
    best, baseline, names = document.best, document.baseline, document.grid
    lines = table(title, min_width, columns, [one for one in document.results if one.succeeded], width)
    if best is None:
        lines.append(f"{best_label(document)}: none, no configuration succeeded")
    else:
        required = document.min_packing
        saving = "saving " if document.objective.kind == ENERGY else ""
        efficiency = "" if required is None else f", {share(best.packing_efficiency, beside=required)} eff"
        lines.append(
            f"{best_label(document)}: {named(best.configuration, names)} "
            f"({rate(sequences_per_sec(best))} seq/sec{efficiency}, {saving}{times(best.speedup)} vs baseline)"
        )
    if baseline is not None:
        count = 1 if baseline.standing is None or document.repeats > 1 else baseline.standing.measurements
        mean = f", mean of {count} measurements" if count > 1 else ""
        found = f"{rate(sequences_per_sec(baseline))} seq/sec{mean}"
        lines.append(f"Baseline: {named(baseline.configuration, names)} ({found})")
    return "\n".join([*lines, *remarks(document)])


def _figures(result: Result) -> str:
    lines = [printable(str(result.configuration))]
    if result.succeeded:
        lines += [
            f"Throughput: {with_half_width(rate(sequences_per_sec(result)), result)} seq/sec, "
            f"{number(tokens_per_sec(result))} tok/sec",
            f"GPU Utilization: {with_coverage(percent(result.gpu_util), seen(result))}",
            f"Packing Efficiency: {share(result.packing_efficiency, beside=MIN_PACKING)}",
            f"Peak Memory: {gigabytes(result.peak_memory_gb)}",
        ]
        if result.measured_sec is not None:
            passes = "" if result.passes is None else f", {counted(result.passes, 'pass', 'passes')}"
            lines.append(f"Measured: {measured_for(result)} after a start-up of {seconds(result.start_up_sec)}{passes}")
        if result.throttled:
            lines.append(f"Throttled: {held_down(result)}")
        if result.interrupted:
            lines.append(f"Interrupted: {stood_still(result)}")
    else:
        lines.append(f"Failed: {printable(str(result.reason))} ({failure_text(result)})")
    return "\n".join(lines)


def _required(required: float | None) -> str:
    return NOT_MEASURED if required is None else limit(100 * required, "%")


_RENDERERS: Final[Mapping[str, Callable[[Document, int | None], str]]] = {
    "baseline": render_baseline,
    "dataloader": render_dataloader,
    "packing": render_packing,
    "interaction": render_interaction,
    "grid": render_grid,
    "search": render_search,
    "confirmation": render_confirmation,
    "validation": render_validation,
}
