# SPDX-License-Identifier: MIT
"""A run compared with its capture, as text. Times are in ms unless they have a unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from virnuc_profiler.analysis.nsys.correlation import (
    AGREEMENT_NS,
    AGREEMENT_SHARE,
    Correlation,
    StageComparison,
    StageCorrelation,
)
from virnuc_profiler.analysis.nsys.totals import KernelTotal
from virnuc_profiler.reports.columns import filled, fitted
from virnuc_profiler.reports.figures import microseconds, milliseconds, share, words

_MIN_NAME: Final = 20
"""Characters of a kernel's name that are shown however narrow the terminal is."""

_STAGES: Final = (
    "Stage", "Matched", "GPU sum", "GPU busy", "Span", "Idle", "Launch delay", "Our interval", "Difference", "Agree",
)  # fmt: skip
_DIFFERENCES: Final = ("Stage", "Batches", "Median", "Worst", "In batch", "At the start", "At the end")
_BATCHES: Final = (
    "Stage", "Batch", "GPU sum", "GPU busy", "Span", "Idle", "Launch delay", "Our interval", "Difference",
    "Start diff.", "End diff.",
)  # fmt: skip


def render_correlation(
    correlation: Correlation,
    title: str,
    notes: Sequence[str],
    work: Sequence[str],
    *,
    top: int,
    width: int,
    batches: bool = False,
) -> str:
    """Render medians by stage, differences between device intervals and spans, and the longest kernels.

    Args:
        correlation: Comparison of a run with its capture.
        title: First line.
        notes: Sentences below the table.
        work: Table of what the stages explain of the GPU work of the capture.
        top: Maximum number of kernels to show per stage.
        width: Maximum number of characters of a line.
        batches: Whether to add a line for every batch.
    """
    lines = fitted([_STAGES, *map(_stage_row, correlation.stages)], width)
    rule = "=" * max(map(len, lines))
    text = [*filled(title, width), rule, *lines, rule]
    for sentence in (*comparison_notes(), *comparison_sentences(correlation), *notes):
        text += filled(sentence, width, "  ")
    text += work
    text += _differences(correlation.stages, width)
    for stage in correlation.stages:
        text += render_kernels(f"Top kernels of {words(stage.name)} (ms)", stage.total.kernels, top, width)
    if batches:
        rows = [_batch_row(stage.name, comparison) for stage in correlation.stages for comparison in stage.batches]
        text += ["", *fitted([_BATCHES, *rows], width, left=2)]
    return "\n".join(text) + "\n"


def render_kernels(title: str, kernels: Sequence[KernelTotal], top: int, width: int) -> list[str]:
    """Render the operations with the most GPU time and their share of it; no lines without operations.

    Args:
        title: First line.
        kernels: Totals by kernel, the longest first.
        top: Maximum number of kernels to show.
        width: Maximum number of characters of a line; names are cut.
    """
    total_ns = sum(kernel.total_ns for kernel in kernels)
    if not kernels or not top:
        return []
    rows = [
        (
            share(kernel.total_ns / total_ns if total_ns else None),
            milliseconds(kernel.total_ns),
            f"{kernel.operations:,} x",
        )
        for kernel in kernels[:top]
    ]
    lines = fitted(rows, width, left=0)
    limit = max(_MIN_NAME, width - len(lines[0]) - len("   | "))
    named = zip(lines, kernels[:top], strict=True)
    more = [f"  and {len(kernels) - top:,} more"] if len(kernels) > top else []
    return ["", *filled(title, width), *(f"  {line} | {words(kernel.name, limit)}" for line, kernel in named), *more]


def _stage_row(stage: StageCorrelation) -> tuple[str, ...]:
    total, agreement = stage.total, stage.agreement
    return (
        words(stage.name),
        f"{stage.counts.matched:,}/{stage.counts.in_run:,}",
        milliseconds(total.median_total_ns),
        milliseconds(total.median_busy_ns),
        milliseconds(total.median_span_ns),
        milliseconds(total.median_idle_ns),
        milliseconds(total.median_launch_delay_ns),
        milliseconds(stage.median_device_ns),
        milliseconds(None if agreement is None else agreement.median_difference_ns, "+"),
        share(None if agreement is None else agreement.share_within),
    )


def _batch_row(name: str, comparison: StageComparison) -> tuple[str, ...]:
    projection = comparison.projection
    measured = bool(projection.operations)
    return (
        words(name),
        str(comparison.batch),
        milliseconds(projection.total_ns if measured else None),
        milliseconds(projection.busy_ns if measured else None),
        milliseconds(projection.span_ns),
        milliseconds(projection.idle_ns),
        milliseconds(projection.launch_delay_ns),
        milliseconds(comparison.device_ns),
        milliseconds(comparison.difference_ns, "+"),
        milliseconds(comparison.start_difference_ns, "+"),
        milliseconds(comparison.end_difference_ns, "+"),
    )


def comparison_sentences(correlation: Correlation) -> list[str]:
    """Return how many stages and batches were matched, how the clocks relate, and how busy the GPU was.

    Args:
        correlation: Comparison of a run with its capture.
    """
    return [*_counts(correlation), *_clock(correlation), *_busy(correlation)]


def comparison_notes() -> Iterator[str]:
    """Yield what the columns of the stages mean."""
    yield "Medians of the matched batches, ms. Sum and busy: work of a stage, overlaps counted separately or once."
    yield "Span: first start to last end. Launch delay: call to first start. Difference: our interval minus the span."
    yield f"Agree: batches that differ by at most {AGREEMENT_SHARE:.0%} of the span, or {AGREEMENT_NS // 1000} µs."


def _counts(correlation: Correlation) -> Iterator[str]:
    yield (
        f"Batches: {correlation.batches_in_run:,} in the run, {correlation.batches_in_capture:,} in the capture, "
        f"{correlation.batches_matched:,} matched"
    )
    for stage in correlation.stages:
        counts = stage.counts
        if counts.in_run and not counts.in_capture:
            yield f"{words(stage.name)}: has no ranges in the capture (it may run in other processes)"
            continue
        odd = {
            "of the run not in the capture": counts.missing_in_capture,
            "of the capture not in the run": counts.missing_in_run,
            "repeated in the run": counts.repeated_in_run,
            "repeated in the capture": counts.repeated_in_capture,
        }
        if found := [f"{count:,} {what}" for what, count in odd.items() if count]:
            yield f"{words(stage.name)}: {', '.join(found)}"


def _clock(correlation: Correlation) -> Iterator[str]:
    clock = correlation.clock
    if clock is not None:
        yield (
            f"Clocks: {clock.offset_ns:,.0f} ns apart (capture minus run); 99% of the stages lie within "
            f"{microseconds(clock.deviation_p99_ns)} of that, all within {microseconds(clock.deviation_max_ns)}"
        )


def _busy(correlation: Correlation) -> Iterator[str]:
    busy = correlation.busy
    if busy is not None:
        yield (
            f"GPU busy in the steady part, {busy.window_ns / 1e9:,.3f} s: {busy.operations:.2%} by the capture; "
            f"in device stages, at most: {busy.intervals:.2%}"
        )


def _differences(stages: Sequence[StageCorrelation], width: int) -> list[str]:
    """Return a table of the differences between device intervals and spans, in total and at each end."""
    rows = [
        (
            words(stage.name),
            f"{agreement.batches:,}",
            microseconds(agreement.median_difference_ns, "+"),
            microseconds(agreement.worst_difference_ns, "+"),
            str(agreement.worst_batch),
            microseconds(agreement.median_start_difference_ns, "+"),
            microseconds(agreement.median_end_difference_ns, "+"),
        )
        for stage in stages
        if (agreement := stage.agreement) is not None
    ]
    if not rows:
        return []
    return [
        "",
        *filled("Our intervals compared with the spans (negative at the start: our event fired first)", width, "  "),
        *fitted([_DIFFERENCES, *rows], width),
    ]
