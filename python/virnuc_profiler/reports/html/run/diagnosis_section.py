# SPDX-License-Identifier: MIT
"""The diagnosis in the page of a run: its evidence, and the idle time of the device by cause."""

from __future__ import annotations

from virnuc_profiler.analysis.diagnosis.bottlenecks import LABELS
from virnuc_profiler.analysis.diagnosis.gaps import CauseTotal
from virnuc_profiler.analysis.summary.run_findings import RunFindings
from virnuc_profiler.reports.figures import number, share
from virnuc_profiler.reports.html.html_table import Cell, Column, Row, bullet_list, html_table
from virnuc_profiler.reports.html.page import Section
from virnuc_profiler.telemetry.rates import ratio


def diagnosis_section(found: RunFindings) -> Section:
    """Return the section on the diagnosis of a run.

    Args:
        found: What was found out about the run.
    """
    diagnosis = found.diagnosis
    rows = [Row([_capitalized(line.statement), line.figure]) for line in diagnosis.evidence]
    evidence = html_table(["What was measured", "Value"], rows, caption="Evidence", sortable=False)
    parts = [bullet_list([diagnosis.sentence, *diagnosis.further]), *([evidence] if rows else [])]
    if diagnosis.gaps:
        columns: list[Column | str] = [
            "Cause", Column("Gaps", numeric=True, first="descending"),
            Column("Total, ms", numeric=True, first="descending"),
            Column("Share of the window", numeric=True, first="descending"),
        ]  # fmt: skip
        gaps = [_gap_row(line, diagnosis.window_ns) for line in diagnosis.gaps]
        parts.append(html_table(columns, gaps, caption="Time outside of all device stages, by cause"))
    window = "the part after warm-up" if diagnosis.steady else "the whole run"
    part = "" if found.judged_batches is None else f" of its first {found.judged_batches:,} batches"
    return Section("diagnosis", "Diagnosis", parts, note=f"Evidence and gaps are those of {window}{part}.")


def _gap_row(line: CauseTotal, window_ns: int) -> Row:
    return Row(
        [
            LABELS[line.cause],
            Cell(f"{line.gaps:,}", line.gaps),
            Cell(number(line.total_ns / 1e6, 2), line.total_ns),
            Cell(share(ratio(line.total_ns, window_ns)), line.total_ns),
        ]
    )


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
