# SPDX-License-Identifier: MIT
"""The formats of ``report``. A new format is a class with these methods, and a line in :data:`RENDERERS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from virnuc_profiler.analysis.summary.performance_figures import Performance
from virnuc_profiler.reports.performance_text import render_performance
from virnuc_profiler.reports.run_report import render_run
from virnuc_profiler.reports.sweep_tables import render_best, render_step
from virnuc_profiler.sweep.results.document import BestConfiguration, Document
from virnuc_profiler.telemetry.run_result import RunResult


class Renderer(Protocol):
    """Renders each kind of result as a string. Methods do no I/O."""

    def step(self, document: Document) -> str:
        """Render one step of a sweep."""

    def best(self, best: BestConfiguration) -> str:
        """Render the recommended configuration of a sweep."""

    def run(self, run: RunResult) -> str:
        """Render a saved run."""

    def telemetry(self, performance: Performance) -> str:
        """Render the figures of a telemetry file."""

    def join(self, parts: Sequence[str]) -> str:
        """Join the parts of a folder into one document."""


class TextRenderer:
    """Tables for a terminal.

    Args:
        width: Maximum number of characters of a line of a table; None for no limit.
    """

    def __init__(self, width: int | None = None) -> None:
        self._width = width

    def step(self, document: Document) -> str:
        """Render one step as its table."""
        return render_step(document, self._width) + "\n"

    def best(self, best: BestConfiguration) -> str:
        """Render the recommended configuration as the table of its validation."""
        return render_best(best) + "\n"

    def run(self, run: RunResult) -> str:
        """Render the performance report, the stages, the kernels if they were captured, and the diagnosis."""
        return render_run(run, self._width)

    def telemetry(self, performance: Performance) -> str:
        """Render the performance report."""
        return render_performance(performance)

    def join(self, parts: Sequence[str]) -> str:
        """Join parts with an empty line."""
        return "\n".join(parts)


RENDERERS: Final[Mapping[str, Renderer]] = {"text": TextRenderer()}
"""Renderers by the name that ``report --format`` takes; the first is the default."""
