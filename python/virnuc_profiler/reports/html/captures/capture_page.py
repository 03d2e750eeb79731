# SPDX-License-Identifier: MIT
"""The page of a capture by Nsight Systems: GPU time by operator, and what no range explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from virnuc_profiler.analysis.nsys.operator_totals import OperatorTotal, SelfTimes, divide_self_time
from virnuc_profiler.reports.captures.gpu_work_table import EXPLAINED_SHARE
from virnuc_profiler.reports.captures.projected_capture import ProjectedCapture
from virnuc_profiler.reports.figures import counted, milliseconds, share
from virnuc_profiler.reports.html.captures.capture_parts import (
    Cells,
    capture_facts,
    kernel_table,
    short_name,
    work_table,
)
from virnuc_profiler.reports.html.captures.operator_chart import NO_RANGE_LABEL, operator_chart
from virnuc_profiler.reports.html.figures_html import Figure
from virnuc_profiler.reports.html.html_table import Cell, Column, Row, bullet_list, fact_list, html_table
from virnuc_profiler.reports.html.page import Answer, Fact, Section, Tone, render_page

_SHOWN_BY_DEVICE: Final = 20
_MAX_ROWS: Final = 300
"""Most operators in the table; a capture with numbers of its own in its names has as many as ranges."""
_WITH_KERNELS: Final = 10
_MAX_DEVICES: Final = 16


def render_capture_page(projected: ProjectedCapture) -> str:
    """Return the page of a capture.

    Args:
        projected: The capture with the GPU time of its ranges.

    Raises:
        LibraryUnavailable: Bokeh is missing.
    """
    totals = projected.operators
    shown = totals.largest(min(_MAX_ROWS, int(totals.on_gpu.sum())))
    times = divide_self_time(totals, len(shown))
    sections = [_operators(projected, shown, times)] if shown else []
    if shown:
        sections.append(_work(projected, times))
        kernels = [
            kernel_table(f"Kernels of {short_name(total.name)}", totals.kernels(at))
            for at, total in enumerate(shown[:_WITH_KERNELS])
        ]
        sections.append(Section("kernels", "Kernels of the first operators", [part for part in kernels if part]))
    sections.append(_devices(projected))
    return render_page(
        _title(projected), _answer(projected, shown, times), sections, _fine_print(projected),
        kind="Capture", source=str(projected.capture["path"]),
    )  # fmt: skip


def _title(projected: ProjectedCapture) -> str:
    return "NVTX ranges on the GPU" if len(projected.ranges) else "GPU work of a capture"


def _answer(projected: ProjectedCapture, shown: Sequence[OperatorTotal], times: SelfTimes) -> Answer:
    work, everything = projected.work, projected.work.all.total_ns
    facts = [Fact("GPU time", f"{milliseconds(everything)} ms", f"{work.all.operations:,} operations")]
    devices = counted(len(projected.devices), "device")
    facts.append(Fact("GPU busy", f"{milliseconds(work.all.busy_ns)} ms", f"at least one of {devices}"))
    if not shown or not everything:
        reason = "it has no NVTX ranges" if not len(projected.ranges) else "no range launched anything"
        return Answer(f"The capture shows no GPU work by range: {reason}.", projected.notes, facts, tone="warning")
    first, without = shown[0], int(times.no_range.sum())
    facts.append(Fact("In no range", share(without / everything), f"{milliseconds(without)} ms"))
    facts.append(Fact("Operators", f"{len(projected.operators):,}", f"{projected.capture['ranges']:,} ranges"))
    tone: Tone = "neutral" if without / everything <= 1 - EXPLAINED_SHARE else "warning"
    headline = (
        f"{short_name(first.name)} launched {share(first.self_ns / everything)} of all GPU time; "
        f"{share(without / everything)} was launched in no range."
    )
    return Answer(headline, [f"Warning: {warning}." for warning in projected.warnings], facts, tone=tone)


def _operators(projected: ProjectedCapture, shown: Sequence[OperatorTotal], times: SelfTimes) -> Section:
    everything = int(times.all.sum())
    columns: list[Column | str] = [
        "Operator",
        Column("Domain"),
        Column("Ranges", numeric=True, first="descending"),
        Column("Operations", numeric=True, help="Kernels, copies and fills of memory", first="descending"),
        Column("Self (ms)", numeric=True, help="Launched in no range inside the operator's", first="descending"),
        Column("Self share", numeric=True, help="Part of all GPU time", first="descending"),
        Column("Total (ms)", numeric=True, help="With the ranges inside the operator's", first="descending"),
        Column("Median range (ms)", numeric=True, help="GPU time of one range", first="descending"),
    ]
    rows: list[Row] = [Row(_cells(total, everything)) for total in shown]
    rest = [
        (f"{len(projected.operators) - len(shown):,} more operators", times.more_operators),
        ("in other ranges", times.other_ranges),
        ("in no range", times.no_range),
    ]
    for name, part in rest:
        if (ns := int(part.sum())) or (part is times.more_operators and len(projected.operators) > len(shown)):
            figures = [Cell(milliseconds(ns), ns), Cell(share(ns / everything), ns)]
            rows.append(Row([f"({name})", "", "", "", *figures, "", ""], tone="muted"))
    parts: list[str | Markup | Figure] = [
        operator_chart(shown, times),
        html_table(columns, rows, caption="GPU time by operator"),
    ]
    if len(times.devices) > 1:
        parts.append(_by_device(shown, times))
    note = (
        "Self times of all operators, of other ranges and of what is in no range add up to all GPU time. Total times "
        "of different operators overlap where their ranges do; where an operator is inside itself, each operation "
        "counts once."
    )
    return Section("operators", "GPU time by operator", parts, note=note, short_title="Operators")


def _cells(total: OperatorTotal, everything: int) -> Cells:
    part = total.self_ns / everything if everything else None
    return [
        short_name(total.name),
        short_name(total.domain),
        Cell(f"{total.ranges:,}", total.ranges),
        Cell(f"{total.operations:,}", total.operations),
        Cell(milliseconds(total.self_ns), total.self_ns),
        Cell(share(part), part),
        Cell(milliseconds(total.total_ns), total.total_ns),
        Cell(milliseconds(total.median_total_ns), total.median_total_ns),
    ]


def _by_device(shown: Sequence[OperatorTotal], times: SelfTimes) -> Markup:
    devices, everything = times.devices[:_MAX_DEVICES], times.all
    columns: list[Column | str] = [
        "Operator",
        *(Column(f"Device {one}", numeric=True, first="descending") for one in devices),
    ]
    parts = [
        *zip(
            (short_name(total.name) for total in shown[:_SHOWN_BY_DEVICE]),
            times.operators[:_SHOWN_BY_DEVICE],
            strict=True,
        )
    ]
    parts.append((NO_RANGE_LABEL, times.no_range))
    rows: list[Cells] = []
    for name, part in parts:
        shares = [part[at] / everything[at] if everything[at] else None for at in range(len(devices))]
        rows.append([name, *(Cell(share(one), one) for one in shares)])
    return html_table(columns, rows, caption="Self time as a share of each device's GPU time")


def _work(projected: ProjectedCapture, times: SelfTimes) -> Section:
    without = share(int(times.no_range.sum()) / int(times.all.sum()) if times.all.sum() else None)
    parts = [f"{without} of all GPU time was launched in no range.", work_table(projected.work)]
    return Section(
        "work", "What the ranges explain", parts,
        note="Each operation is in exactly one line. Sum: concurrent operations count separately; busy: once.",
        short_title="Explained",
    )  # fmt: skip


def _devices(projected: ProjectedCapture) -> Section:
    columns: list[Column | str] = [
        "Device",
        *(Column(name, numeric=True) for name in ("Operations", "Sum (ms)", "Busy (ms)", "Span (ms)")),
    ]
    rows: list[Cells] = [
        [f"Device {total.device}", Cell(f"{total.operations:,}", total.operations),
         *(Cell(milliseconds(ns), ns) for ns in (total.total_ns, total.busy_ns, total.span_ns))]
        for total in projected.devices[:_MAX_DEVICES]
    ]  # fmt: skip
    tables = (
        kernel_table(f"Kernels of device {total.device}", total.kernels) for total in projected.devices[:_MAX_DEVICES]
    )
    return Section("devices", "Devices", [html_table(columns, rows), *filter(None, tables)])


def _fine_print(projected: ProjectedCapture) -> list[Section]:
    notes = [*projected.notes, *(f"{warning}." for warning in projected.warnings)]
    return [Section("fine-capture", "The capture", [fact_list(capture_facts(projected.capture)), bullet_list(notes)])]
