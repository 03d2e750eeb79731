# SPDX-License-Identifier: MIT
"""The performance report of one run, as text. What was not measured prints as ``n/a``."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import wrap

from virnuc_profiler.analysis.summary.performance_figures import Performance, summarize_performance
from virnuc_profiler.reports.performance.performance_rows import Remark, Row, performance_sections
from virnuc_profiler.reports.telemetry_file import load_telemetry
from virnuc_profiler.telemetry.files import write_text_atomically
from virnuc_profiler.telemetry.run_result import RunResult

_RULE = "=" * 70
_LABEL_WIDTH = 38
"""Width of the longest label of this package. A longer label from a file moves its value to the right."""


def generate_performance_report(
    telemetry_path: str | os.PathLike[str] | RunResult, output_path: str | os.PathLike[str] | None = None
) -> str:
    """Return the performance report of a run.

    Args:
        telemetry_path: Path of a telemetry file, possibly by another writer of the format, or of a saved run; or a run
            in memory.
        output_path: File to write the report to as well, atomically; None writes no file.

    Raises:
        TelemetryFormatError: The file cannot be read, or is neither telemetry nor a saved run.
        ValueError: `output_path` is the file that is reported on.
        OutputError: The report cannot be written.
    """
    file = None if isinstance(telemetry_path, RunResult) else Path(telemetry_path)
    if file is not None and output_path is not None and Path(output_path).resolve() == file.resolve():
        raise ValueError(f"the report would replace the file that it is about, {file}; choose another output_path")
    text = render_performance(summarize_performance(load_telemetry(telemetry_path), "" if file is None else file.name))
    if output_path is not None:
        write_text_atomically(output_path, text)
    return text


def render_performance(performance: Performance, *, alone: bool = True) -> str:
    """Render a report; strings from the file are made printable.

    Args:
        performance: Figures of the run.
        alone: Whether no other text follows that gives the diagnosis and the cost of profiling.
    """
    lines = ["Performance Report", _RULE]
    for title, rows in performance_sections(performance, alone=alone).items():
        lines += [*([title] if title else []), *(line for row in rows for line in _lines(row)), ""]
    lines[-1] = _RULE
    return "\n".join(lines) + "\n"


def _lines(row: Row) -> list[str]:
    if isinstance(row, Remark):
        return wrap(row.text, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return [f"  {row[0] + ':':<{_LABEL_WIDTH}} {row[1]}" if isinstance(row, tuple) else row]
