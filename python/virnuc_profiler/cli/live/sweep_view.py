# SPDX-License-Identifier: MIT
"""The live view of a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from virnuc_profiler.cli.live.view_rows import bar, facts, gpu_facts, headline, rate_facts
from virnuc_profiler.sweep.results.verdicts.measurements import rate_of
from virnuc_profiler.telemetry.number_text import rate

if TYPE_CHECKING:
    from rich.console import RenderableType

    from virnuc_profiler.cli.live.sweep_progress import ProgressLines


def sweep_rows(progress: ProgressLines, columns: int) -> Iterator[RenderableType]:
    """Yield the rows of the view.

    Args:
        progress: What is known of the sweep.
        columns: Columns of the terminal.
    """
    trial, best = progress.trial(), progress.best
    yield headline(f"sweep: {trial.name}", progress.seconds_left(), columns, progress.after_that)
    yield bar(progress.share_done(), columns)
    rates = rate_facts(trial.sequences_per_s, trial.tokens_per_s, trial.packing)
    yield from facts("trial", [trial.done, *rates], columns)
    yield from facts("gpu", gpu_facts(trial.gpu), columns)
    if best is not None:
        found = f"{rate(rate_of(best)[0])} sequences/s with {best.configuration.short_name}"
        yield from facts("fastest", [found], columns)
    yield from facts("failed", [f"{count} {reason}" for reason, count in progress.failed.items()], columns)
