# SPDX-License-Identifier: MIT
"""The page of a run beside its capture by Nsight Systems."""

from __future__ import annotations

from markupsafe import Markup

from virnuc_profiler.analysis.nsys.correlation import Agreement, StageCorrelation
from virnuc_profiler.reports.captures.correlated_run import CorrelatedRun
from virnuc_profiler.reports.captures.correlation_table import comparison_notes, comparison_sentences
from virnuc_profiler.reports.figures import microseconds, milliseconds, share
from virnuc_profiler.reports.html.captures.capture_parts import (
    Cells,
    capture_facts,
    kernel_table,
    numeric,
    short_name,
    work_table,
)
from virnuc_profiler.reports.html.html_table import Cell, bullet_list, fact_list, html_table
from virnuc_profiler.reports.html.page import Answer, Fact, Section, Tone, render_page


def render_correlation_page(correlated: CorrelatedRun) -> str:
    """Return the page of a run beside its capture.

    Args:
        correlated: The run beside its capture.

    Raises:
        LibraryUnavailable: Bokeh is missing.
    """
    correlation = correlated.correlation
    kernels = [
        table for stage in correlation.stages
        if (table := kernel_table(f"Kernels of {short_name(stage.name)}", stage.total.kernels)) is not None
    ]  # fmt: skip
    sections = [
        Section(
            "stages", "Stages", [_stages(correlation.stages), bullet_list(comparison_sentences(correlation))],
            note=" ".join(comparison_notes()),
        ),
        Section("differences", "Our intervals compared with the spans", [_differences(correlation.stages)],
                note="Negative at the start: our event fired first.", short_title="Differences"),
        Section("work", "What the stages explain", [work_table(correlated.work)], short_title="Explained"),
        Section("kernels", "Kernels", kernels),
    ]  # fmt: skip
    notes = bullet_list([*correlated.notes, *(f"{warning}." for warning in correlated.warnings)])
    fine = [Section("fine-capture", "The capture", [fact_list(capture_facts(correlated.capture)), notes])]
    return render_page(
        f"Run {correlated.run.run_id} in Nsight Systems", _answer(correlated), sections, fine, kind="Correlation",
        source=str(correlated.capture["path"]),
    )  # fmt: skip


def _answer(correlated: CorrelatedRun) -> Answer:
    correlation, work = correlated.correlation, correlated.work
    agreements = [(stage.name, stage.agreement) for stage in correlation.stages if stage.agreement is not None]
    compared = sum(agreement.batches for _, agreement in agreements)
    within = sum(round(agreement.share_within * agreement.batches) for _, agreement in agreements)
    headline = "The run has no device intervals that the capture could be compared with."
    if compared:
        headline = f"{share(within / compared)} of {compared:,} device intervals agree with the capture."
    facts = [
        Fact("Batches", f"{correlation.batches_matched:,}", f"matched, of {correlation.batches_in_run:,} in the run"),
        Fact("GPU time", f"{milliseconds(work.all.total_ns)} ms", f"{work.all.operations:,} operations"),
    ]
    if work.share_in_ranges is not None:
        facts.append(Fact("In no stage", share(1 - work.share_in_ranges), "of the GPU time of the capture"))
    if correlation.busy is not None:
        facts.append(Fact("GPU busy", share(correlation.busy.operations), "of the steady part, by the capture"))
    tone: Tone = "warning" if correlated.warnings or not compared else "neutral"
    return Answer(headline, [f"Warning: {warning}." for warning in correlated.warnings], facts, tone=tone)


def _stages(stages: tuple[StageCorrelation, ...]) -> Markup:
    columns = ["Stage", *numeric("Matched", "GPU sum", "GPU busy", "Span", "Idle", "Launch delay", "Our interval",
                                 "Difference", "Agree")]  # fmt: skip
    rows: list[Cells] = []
    for stage in stages:
        total, agreement = stage.total, stage.agreement
        times = (
            total.median_total_ns, total.median_busy_ns, total.median_span_ns, total.median_idle_ns,
            total.median_launch_delay_ns, stage.median_device_ns,
        )  # fmt: skip
        difference = None if agreement is None else agreement.median_difference_ns
        within = None if agreement is None else agreement.share_within
        rows.append([
            stage.name, Cell(f"{stage.counts.matched:,}/{stage.counts.in_run:,}", stage.counts.matched),
            *(Cell(milliseconds(ns), ns) for ns in times), Cell(milliseconds(difference, "+"), difference),
            Cell(share(within), within),
        ])  # fmt: skip
    return html_table(columns, rows, caption="Medians of the matched batches, ms")


def _differences(stages: tuple[StageCorrelation, ...]) -> Markup | str:
    columns = ["Stage", *numeric("Batches", "Median", "Worst", "In batch", "At the start", "At the end")]
    rows = [_difference(stage.name, stage.agreement) for stage in stages if stage.agreement is not None]
    return html_table(columns, rows) if rows else "Nothing can be compared."


def _difference(name: str, agreement: Agreement) -> Cells:
    times = (agreement.median_start_difference_ns, agreement.median_end_difference_ns)
    return [
        name, Cell(f"{agreement.batches:,}", agreement.batches),
        *(Cell(microseconds(ns, "+"), ns) for ns in (agreement.median_difference_ns, agreement.worst_difference_ns)),
        Cell(str(agreement.worst_batch), agreement.worst_batch), *(Cell(microseconds(ns, "+"), ns) for ns in times),
    ]  # fmt: skip
