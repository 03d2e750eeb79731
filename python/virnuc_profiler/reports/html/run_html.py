# SPDX-License-Identifier: MIT
"""The page of one run: what limited it, the run over time, its stages, packing, start-up, diagnosis and kernels."""

from __future__ import annotations

from typing import Final

from virnuc_profiler.analysis.summary.run_findings import findings_of
from virnuc_profiler.analysis.timeline.exact_part import MAX_EXACT_INTERVALS
from virnuc_profiler.analysis.timeline.run_timeline import timeline_of
from virnuc_profiler.reports.html.figures_html import require_bokeh
from virnuc_profiler.reports.html.page import render_page
from virnuc_profiler.reports.html.run.diagnosis_section import diagnosis_section
from virnuc_profiler.reports.html.run.kernel_section import kernel_section
from virnuc_profiler.reports.html.run.packing_section import packing_section
from virnuc_profiler.reports.html.run.run_answer import run_answer
from virnuc_profiler.reports.html.run.run_fine_print import run_fine_print
from virnuc_profiler.reports.html.run.stage_section import stage_section
from virnuc_profiler.reports.html.run.start_up_section import start_up_section
from virnuc_profiler.reports.html.safe_text import visible
from virnuc_profiler.reports.html.timeline.timeline_section import timeline_scripts, timeline_section, timeline_styles
from virnuc_profiler.telemetry.run_result import RunResult

_MAX_TITLE: Final = 200


def render_run_html(run: RunResult, source: str = "", *, max_exact_intervals: int = MAX_EXACT_INTERVALS) -> str:
    """Return the page of a run as one self-contained HTML document.

    Args:
        run: The run.
        source: File that it was read from.
        max_exact_intervals: Number of stage intervals up to which the page holds the times of all batches.

    Raises:
        LibraryUnavailable: Bokeh is missing.
    """
    require_bokeh()
    found = findings_of(run)
    timeline = timeline_of(run, max_exact_intervals=max_exact_intervals)
    sections = [
        timeline_section(timeline),
        stage_section(timeline),
        packing_section(run.batches),
        start_up_section(found.diagnosis.start_up),
        diagnosis_section(found),
        *([] if run.kernels is None else [kernel_section(run.kernels)]),
    ]
    return render_page(
        visible(run.run_id, _MAX_TITLE), run_answer(found), sections, run_fine_print(found), kind="Run", source=source,
        scripts=timeline_scripts(), styles=timeline_styles(),
    )  # fmt: skip
