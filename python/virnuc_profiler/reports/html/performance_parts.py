# SPDX-License-Identifier: MIT
"""The figures of a run, or of a job of several ranks, as parts of a page: the answer, the figures, the requirements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from virnuc_profiler.analysis.summary.performance_figures import Performance
from virnuc_profiler.analysis.summary.requirements import PERF_02_PERCENT, PERF_05_EFFICIENCY, Requirement
from virnuc_profiler.reports.coverage_text import with_coverage
from virnuc_profiler.reports.figures import counted, number, percent, rate, share
from virnuc_profiler.reports.html.chart_frame import WHEEL_HINT, new_figure
from virnuc_profiler.reports.html.figures_html import Figure, themed
from virnuc_profiler.reports.html.fine_print import condition_sections
from virnuc_profiler.reports.html.html_table import Cell, Column, Row, bullet_list, fact_list, html_table
from virnuc_profiler.reports.html.page import Answer, Fact, Section, Tone
from virnuc_profiler.reports.html.predicted_time import time_fact
from virnuc_profiler.reports.performance.performance_rows import Remark, performance_sections
from virnuc_profiler.reports.steady_rate_text import steady_interval_text
from virnuc_profiler.telemetry.rates import PROJECTED_SEQUENCES, ratio

_MAX_POINTS: Final = 600
"""Points of a curve; more batches than these are drawn as mean, minimum and maximum of as many groups."""
_MODEL: Final = (
    "run_id", "model_name", "weights", "weights_source", "precision", "attention_backend", "kernels", "parameters",
)  # fmt: skip
_ELSEWHERE: Final = ("", "Hardware", "Requirements")
"""Sections of the text report that a page shows in another place."""


def performance_answer(performance: Performance) -> Answer:
    """Return what to know of a run first: its rate, what limits it, and how long a large job would take.

    Args:
        performance: Figures of the run.
    """
    summary = performance.summary
    if not summary.get("total_batches") and summary.get("avg_tokens_per_sec") is None:
        return Answer("Nothing was measured: the file holds no batches", [*_failure(performance)], tone="bad")
    steady = summary.get("steady_tokens_per_sec")
    found, when = (
        (steady, "after warm-up") if steady is not None else (summary["avg_tokens_per_sec"], "over the whole run")
    )
    sentences = [*_failure(performance)]
    if summary.get("diagnosis"):
        sentences.append(str(summary["diagnosis"]))
    sentences += [f"The file contradicts itself: {text}." for text in performance.contradictions]
    failed = isinstance(performance.metadata.get("failure"), Mapping)
    tone: Tone = "bad" if failed else "warning" if performance.contradictions else "neutral"
    return Answer(f"{number(found)} tokens/s {when}", sentences, list(_facts(performance)), tone=tone)


def _failure(performance: Performance) -> Iterator[str]:
    failure = performance.metadata.get("failure")
    if isinstance(failure, Mapping):
        yield f"The run failed: {failure.get('reason')}, {failure.get('message')}."


def _facts(performance: Performance) -> Iterator[Fact]:
    summary = performance.summary
    steady = summary.get("steady_sequences_per_sec")
    whole = ratio(summary["sequences_per_hour"], 3600)
    interval = steady_interval_text(summary)
    note = f"tokens/s: {interval}" if interval else ""
    yield Fact("Rate", f"{rate(whole if steady is None else steady)} seq/s", note)
    low, high = performance.projections.interval
    job = f"for {PROJECTED_SEQUENCES:,} such sequences"
    if performance.projections.steady is not None:
        value, ends = time_fact(performance.projections.steady, low, high)
        yield Fact("Predicted time", value, f"{ends} {job}" if ends else job)
    elif performance.projections.whole_run is not None:
        value, _ = time_fact(performance.projections.whole_run, None, None)
        yield Fact("Predicted time", value, f"{job}, at the rate of the whole run")
    if summary.get("joules_per_sequence") is not None:
        power = summary.get("mean_power_watts")
        yield Fact(
            "Energy", number(summary["joules_per_sequence"], 2, " J/sequence"),
            "" if power is None else f"{number(power, 0, ' W')} on average",
        )  # fmt: skip
    for device in performance.devices[:1]:
        if device.average is None:
            continue
        text = with_coverage(percent(device.average, beside=PERF_02_PERCENT), device.coverage)
        value, _, note = text.partition(" (")
        yield Fact("GPU utilization", value, note.rstrip(")"))
    if summary.get("avg_packing_efficiency") is not None:
        yield Fact("Packing", share(performance.packing.average, beside=PERF_05_EFFICIENCY), "of the token budget")


def figure_sections(performance: Performance) -> Section:
    """Return the figures of a run by subject, in the words of the text report.

    Args:
        performance: Figures of the run.
    """
    parts: list[str | Markup | Figure] = []
    for title, rows in performance_sections(performance).items():
        if title in _ELSEWHERE:
            continue
        facts = [row for row in rows if isinstance(row, tuple)]
        sentences = [row.text if isinstance(row, Remark) else row.strip() for row in rows if not isinstance(row, tuple)]
        parts += [
            Markup("<h3>{}</h3>").format(title),
            fact_list(facts) if facts else Markup(""),
            bullet_list(sentences),
        ]
    return Section("figures", "Figures", [part for part in parts if part])


def requirements_section(performance: Performance) -> Section | None:
    """Return the table of what is required of a run; None where nothing is.

    Args:
        performance: Figures of the run.
    """
    if not performance.requirements or performance.on_cpu:
        return None
    heads: list[Column | str] = ["Requirement", "What", Column("Value", numeric=True), "Verdict"]
    rows = [Row([one.name, one.text, *_verdict(one)]) for one in performance.requirements]
    return Section("requirements", "Requirements", [html_table(heads, rows, sortable=False)])


def _verdict(one: Requirement) -> tuple[Cell, Cell]:
    unit = f" {one.unit}" if one.unit[0].isalpha() else one.unit
    value = Cell(number(one.value, 2, unit, beside=one.limit), one.value)
    if one.met is None:
        unknown = "not measured" if one.value is None else "cannot tell"
        return value, Cell(unknown, unknown, one.remark or "", "muted")
    word = "pass" if one.met else "fail"
    return value, Cell(word, word, one.remark or "", "good" if one.met else "bad")


def batches_figure(records: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Return the chart of the rates of the batches; None where they have none.

    Args:
        records: Batches of a telemetry file.
    """
    known = [(place, float(one["tokens_per_sec"])) for place, one in enumerate(records) if one.get("tokens_per_sec")]
    if len(known) < 2:
        return None
    groups = np.array_split(np.array(known), min(len(known), _MAX_POINTS))
    x = [float(group[:, 0].mean()) for group in groups]
    middle, low, high = ([float(of(group[:, 1])) for group in groups] for of in (np.mean, np.min, np.max))
    plot = new_figure("Batch", "Tokens/s", height=300)
    if len(known) > _MAX_POINTS:
        band = plot.varea(x, low, high, fill_alpha=0.3)
        themed(band.glyph, fill_color="series-1")
    line = plot.line(x, middle, line_width=1.5)
    themed(line.glyph, line_color="series-1")
    plot.y_range.start, plot.y_range.end = 0, max(high) * 1.05
    every = number(len(known) / len(groups), 0)
    each = "" if len(known) <= _MAX_POINTS else f", mean and range of each {every} batches"
    batches = counted(len(known), "batch", "batches")
    return Figure(
        plot,
        caption=f"The rate of each batch over the time from the completion of the one before to its own{each}",
        alternative=f"{batches}, from {number(min(low))} to {number(max(high))} tokens/s.",
        height=300,
        hint=WHEEL_HINT,
    )


def run_fine_print(performance: Performance) -> list[Section]:
    """Return the machine, the versions, the model and the workload of a run.

    Args:
        performance: Figures of the run.
    """
    metadata = performance.metadata
    versions, workload = (
        value if isinstance(value, Mapping) else {} for value in (metadata.get("versions"), metadata.get("workload"))
    )
    names = (
        "run_id",
        "model_name",
        "weights",
        "weights_source",
        "precision",
        "attention_backend",
        "kernels",
        "parameters",
    )
    model = {name: metadata[name] for name in names if name in metadata}
    settings = {
        name: metadata[name] for name in ("device", "started_at", "passes", "schema_version") if name in metadata
    }
    config = metadata.get("config")
    if isinstance(config, Mapping):
        settings.update(config)
    return list(condition_sections(performance.hardware, versions, model, workload, settings))
