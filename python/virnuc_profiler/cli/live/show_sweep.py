# SPDX-License-Identifier: MIT
"""Show a sweep while it runs: on a terminal, in a log, and in a file of metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from virnuc_profiler.cli.heartbeat import Heartbeat
from virnuc_profiler.cli.live.metrics_file import metrics_file
from virnuc_profiler.cli.live.screen import Screen
from virnuc_profiler.cli.live.sweep_metrics import sweep_metrics
from virnuc_profiler.cli.live.sweep_progress import LiveSweep, ProgressLines


@contextmanager
def show_sweep(progress: ProgressLines, folder: Path, metrics: Path | None = None) -> Iterator[None]:
    """Show a live view of a sweep if stderr is a terminal, print lines if not, and write metrics meanwhile.

    Args:
        progress: What is known of the sweep, as :func:`make_progress` has made it.
        folder: Folder of the sweep.
        metrics: File of the metrics; None for none.
    """
    labels = {"folder": str(folder.absolute())}
    with metrics_file(metrics, lambda running: sweep_metrics(progress, labels, running=running)):
        if isinstance(progress, LiveSweep):
            from virnuc_profiler.cli.live.sweep_view import sweep_rows
            from virnuc_profiler.cli.live.view_rows import rendered

            with Screen(rendered(lambda columns: sweep_rows(progress, columns))):
                yield
        else:
            with Heartbeat(progress.now):
                yield
