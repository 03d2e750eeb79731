# SPDX-License-Identifier: MIT
"""The tables of a sweep, from the documents of its steps. What was not measured prints as ``n/a``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from virnuc_profiler.analysis.gpu.coverage import Coverage, percent_bounds
from virnuc_profiler.analysis.selection import INTERRUPTED, THROTTLED
from virnuc_profiler.analysis.timing.statistics import measured
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
from virnuc_profiler.reports.sweep_verdicts import FASTEST, fastest_label, missed_packing_note, verdicts
from virnuc_profiler.sweep.plan.configuration import KNOBS, Configuration
from virnuc_profiler.sweep.plan.steps import MIN_PACKING
from virnuc_profiler.sweep.results.choice import missed_packing
from virnuc_profiler.sweep.results.document import BestConfiguration, Document, Projection
from virnuc_profiler.sweep.results.result import OOM, Result
from virnuc_profiler.telemetry.values import printable

FAILED: Final = "---"


def render_step(document: Document) -> str:
    """Return the table of any step."""
    return _RENDERERS[document.step](document)


def render_baseline(document: Document) -> str:
    """Return the baseline's figures."""
    lines = ["Baseline Configuration (defaults)", _rule(34), *map(_figures, document.results), _rule(34)]
    return "\n".join(lines)


def render_dataloader(document: Document) -> str:
    """Return a line for each number of workers and prefetch factor."""
    columns = [*_knob_columns(document), _rates(document), _TOK, _GPU, _MEM, _SPEEDUP]
    return _sweep_table("DataLoader Parameter Sweep", 67, columns, document)


def render_packing(document: Document) -> str:
    """Return a line for each token budget and buffer size."""
    knobs = _knob_columns(document, {"token_budget": 7})
    columns = [*knobs, _rates(document), _packing(document), _GPU, _MEM, _SPEEDUP]
    return _sweep_table("Packing Parameter Sweep", 70, columns, document)


def render_interaction(document: Document) -> str:
    """Return a line for each number of workers and token budget, including the failed ones."""
    figures = [_rates(document), _packing(document), _GPU, _MEM, _SPEEDUP, _STATUS]
    columns = [*_knob_columns(document), *figures]
    title = "Parameter Interaction Sweep (num_workers x token_budget)"
    lines = _table(title, 70, columns, document.results)
    best = document.best
    if best is None:
        lines.append(f"{FASTEST}: none, no configuration succeeded")
    else:
        required, packing = document.min_packing, share(best.packing_efficiency, beside=document.min_packing)
        met = f">{_limit(required)} packing" if document.constraint_met else f"{packing} packing"
        text = f"{rate(best.sequences_per_sec)} seq/sec, {met}, no OOM"
        lines.append(f"{fastest_label(document)}: {_named(best.configuration, document.grid)} ({text})")
    return "\n".join([*lines, *_remarks(document)])


def render_validation(document: Document) -> str:
    """Return the best configuration on the longer workload, and what it means for a large job."""
    reason = "" if document.choice is None else document.choice.reason
    return _validation(document.results, reason, document.projection, document.conditions.workload)


def render_best(best: BestConfiguration) -> str:
    """Return the recommended configuration as the table of its validation."""
    return _validation([best.validation], best.choice.reason, best.projection, best.validation_workload)


def _validation(
    results: Sequence[Result], reason: str, projection: Projection | None, workload: Mapping[str, int]
) -> str:
    lines = ["Validation of the Chosen Configuration", _rule(38)]
    if not results:
        return "\n".join([*lines, f"Not run: {printable(reason)}", _rule(38)])
    lines += [
        *map(_figures, results),
        f"Workload: {counted(workload['num_sequences'], 'sequence')}, {counted(workload['tokens'], 'token')}",
        f"Chosen for: {printable(reason)}",
        *_missed_packing(results),
        _rule(38),
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


def _missed_packing(results: Sequence[Result]) -> list[str]:
    """Return a line if a validation misses the packing that the choice requires, also where older files do not say."""
    missed = [one for one in results if one.succeeded and not (one.packing_efficiency or 0.0) >= MIN_PACKING]
    return [
        f"Packing rule missed: {missed_packing(one.packing_efficiency, MIN_PACKING)} on this workload, where "
        f"{_limit(MIN_PACKING)} is required"
        for one in missed
    ]


Column = tuple[str, Callable[[Result], str]]


def _knob_columns(document: Document, widths: Mapping[str, int] | None = None) -> list[Column]:
    """Return a column for each knob that the step varies.

    Args:
        document: Document of the step.
        widths: Smallest widths of some columns, by the name of the knob.
    """
    return [_knob_column(name, (widths or {}).get(name, 0)) for name in document.grid]


def _knob_column(name: str, width: int) -> Column:
    knob = KNOBS[name]
    return knob.heading.ljust(width), lambda result: knob.text(getattr(result.configuration, name))


def _sweep_table(title: str, width: int, columns: Sequence[Column], document: Document) -> str:
    """Return a table of the successful configurations, with the best, the baseline and the failed ones below."""
    best, baseline, names = document.best, document.baseline, document.grid
    lines = _table(title, width, columns, [result for result in document.results if result.succeeded])
    if best is None:
        lines.append(f"{FASTEST}: none, no configuration succeeded")
    else:
        required = document.min_packing
        efficiency = "" if required is None else f", {share(best.packing_efficiency, beside=required)} eff"
        lines.append(
            f"{fastest_label(document)}: {_named(best.configuration, names)} "
            f"({rate(best.sequences_per_sec)} seq/sec{efficiency}, {times(best.speedup)} vs baseline)"
        )
    if baseline is not None:
        lines.append(f"Baseline: {_named(baseline.configuration, names)} ({rate(baseline.sequences_per_sec)} seq/sec)")
    return "\n".join([*lines, *_remarks(document)])


def _table(title: str, width: int, columns: Sequence[Column], results: Iterable[Result]) -> list[str]:
    rows = [[heading for heading, _ in columns]]
    rows += [[cell(result) for _, cell in columns] for result in results]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" | ".join(text.ljust(size) for text, size in zip(row, widths, strict=True)).rstrip() for row in rows]
    rule = _rule(max(width, *map(len, lines)))
    return [title, rule, *lines, rule]


def _remarks(document: Document) -> list[str]:
    """Return what is said below a table: what the best means, notes, then what was throttled, interrupted or failed."""
    notes = [*verdicts(document), *_notes(document)]
    return [*notes, *_throttled(document), *_interrupted(document), *_failures(document)]


def _notes(document: Document) -> list[str]:
    notes = []
    if document.constraint_met is False:
        notes.append(missed_packing_note(document))
    if not document.complete:
        notes.append(f"Incomplete: {len(document.results)} of {counted(document.planned, 'configuration')} were run.")
    mixed = [result.measured_under for result in document.results if result.measured_under]
    if mixed:
        what = ", ".join(dict.fromkeys(str(name) for under in mixed for name in under))
        notes.append(f"Mixed: {len(mixed)} of {len(document.results)} differ from the rest in {printable(what)}.")
    if (off := max(map(_off_by, document.results), default=0.0)) > 0:
        notes.append(f"{_MARK} GPU Util may be off by up to {off:.0f} points: short runs, or sampled in part.")
    if any(result.succeeded and result.gpu_util is None and _seen(result) for result in document.results):
        notes.append(f"GPU Util {NOT_MEASURED}: the run is too short to sample, or most of it was not sampled.")
    if document.best is not None and document.best.throttled:
        notes.append("Every configuration that succeeded was throttled: compare on a cooler device.")
    return notes


def _throttled(document: Document) -> list[str]:
    """Return the throttled configurations, which never win while others succeeded, with the reasons."""
    held = [result for result in document.results if result.succeeded and result.throttled]
    if not held:
        return []
    lines = [f"  {_named(result.configuration, document.grid)} ({_held_down(result)})" for result in held]
    return ["", "Throttled configurations (chosen only if all were):", *lines]


def _interrupted(document: Document) -> list[str]:
    """Return the interrupted configurations, which never win, with the time for which they stood still."""
    stopped = [result for result in document.results if result.interrupted]
    if not stopped:
        return []
    lines = [f"  {_named(result.configuration, document.grid)} ({_stood_still(result)})" for result in stopped]
    return ["", "Interrupted configurations (never chosen; --resume measures them again):", *lines]


def _stood_still(result: Result) -> str:
    evidence = result.evidence or {}
    stopped, asleep = evidence.get("stopped_sec"), evidence.get("suspended_sec")
    parts = [f"stopped for {_seconds(stopped)} of {_seconds(result.elapsed_sec)}"] if stopped else []
    parts += [f"the machine slept for {_seconds(asleep)}"] if asleep else []
    return printable("; ".join(parts) or NOT_MEASURED)


def _held_down(result: Result) -> str:
    evidence = result.evidence or {}
    held, reasons = evidence.get("held_down_share"), evidence.get("reasons") or {}
    seen = evidence.get("sampled_share")
    time = "the time" if seen is None else f"the {share(seen)} of the time that was sampled"
    return printable(f"{share(held)} of {time}: {', '.join(reasons) or NOT_MEASURED}")


def _failures(document: Document) -> list[str]:
    by_reason: dict[str, list[Result]] = {}
    for result in document.results:
        if not result.succeeded:
            by_reason.setdefault(_reason(result), []).append(result)
    lines: list[str] = []
    for reason, failed in by_reason.items():
        lines += ["", f"Failed configurations ({printable(reason)}):"]
        lines += [f"  {_named(result.configuration, document.grid)} ({_failure(result)})" for result in failed]
    return lines


def _reason(result: Result) -> str:
    return f"{result.reason}{', predicted' if result.predicted else ''}"


def _failure(result: Result) -> str:
    if result.predicted:
        available = result.available_memory_gb
        predicted = number(result.predicted_peak_memory_gb, 2, " GB", beside=available)
        return f"predicted: {predicted} of {_gigabytes(available)}, not tried"
    if result.reason == OOM:
        where = {"host": " of the host", "shared memory": " of shared memory"}.get(str(result.memory), "")
        return f"peak memory: {_gigabytes(result.peak_memory_gb)} before OOM{where}"
    return printable(str(result.message or "no message"))


def _figures(result: Result) -> str:
    lines = [printable(str(result.configuration))]
    if result.succeeded:
        lines += [
            f"Throughput: {rate(result.sequences_per_sec)} seq/sec, {number(result.tokens_per_sec)} tok/sec",
            f"GPU Utilization: {with_coverage(percent(result.gpu_util), _seen(result))}",
            f"Packing Efficiency: {share(result.packing_efficiency, beside=MIN_PACKING)}",
            f"Peak Memory: {_gigabytes(result.peak_memory_gb)}",
        ]
        if result.throttled:
            lines.append(f"Throttled: {_held_down(result)}")
        if result.interrupted:
            lines.append(f"Interrupted: {_stood_still(result)}")
    else:
        lines.append(f"Failed: {printable(str(result.reason))} ({_failure(result)})")
    return "\n".join(lines)


def _named(configuration: Configuration, names: Iterable[str]) -> str:
    """Return the values of the knobs that a step varies."""
    return ", ".join(f"{name}={KNOBS[name].text(getattr(configuration, name))}" for name in names)


def _rule(width: int) -> str:
    return "=" * width


def _limit(required: float | None) -> str:
    return NOT_MEASURED if required is None else limit(100 * required, "%")


def _seconds(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:,.1f} s"


def _gigabytes(value: float | None) -> str:
    return number(value, 2, " GB")


_MARK: Final = "*"
"""Mark of a GPU utilization that does not stand for the whole run."""


def _seen(result: Result) -> Coverage | None:
    return Coverage.from_json(result.gpu_util_coverage)


def _off_by(result: Result) -> float:
    """Return by how many points the GPU utilization may be off, given what was sampled of the run."""
    if result.gpu_util is None:
        return 0.0
    low, high = percent_bounds(result.gpu_util, _seen(result))
    return max(result.gpu_util - low, high - result.gpu_util)


def _utilization(result: Result) -> str:
    return percent(result.gpu_util) + (_MARK if _off_by(result) > 0 else "")


def _measured(text: Callable[[Result], str]) -> Callable[[Result], str]:
    return lambda result: text(result) if result.succeeded else FAILED


def _memory(result: Result) -> str:
    return number(result.peak_memory_gb, 2, "G")


def _status(result: Result) -> str:
    if result.succeeded:
        return THROTTLED if result.throttled else INTERRUPTED if result.interrupted else "OK"
    return printable(_reason(result))


def _rates(document: Document) -> Column:
    """Return a column of rates, each with enough digits to show whether it is below that of the best."""
    best = None if document.best is None else document.best.sequences_per_sec
    others = [one.sequences_per_sec for one in document.results if one.succeeded and one.sequences_per_sec != best]
    known = measured(others)
    rival = None if best is None else min(known, key=lambda other: abs(other - best), default=None)

    def text(result: Result) -> str:
        return rate(result.sequences_per_sec, beside=rival if result.sequences_per_sec == best else best)

    return "Seq/sec", _measured(text)


def _packing(document: Document) -> Column:
    """Return a column of packing efficiencies, each with enough digits to show whether it reaches the required one."""
    required = document.min_packing
    return "Pack Eff", _measured(lambda result: share(result.packing_efficiency, beside=required))


_TOK: Final[Column] = ("Tok/sec ", _measured(lambda result: number(result.tokens_per_sec)))
_GPU: Final[Column] = ("GPU Util", _measured(_utilization))
_MEM: Final[Column] = ("Memory ", _memory)
_SPEEDUP: Final[Column] = ("Speedup", _measured(lambda result: times(result.speedup)))
_STATUS: Final[Column] = ("Status", _status)

_RENDERERS: Final[Mapping[str, Callable[[Document], str]]] = {
    "baseline": render_baseline,
    "dataloader": render_dataloader,
    "packing": render_packing,
    "interaction": render_interaction,
    "validation": render_validation,
}
