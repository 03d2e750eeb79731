# SPDX-License-Identifier: MIT
"""The metrics of a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virnuc_profiler.cli.live.metrics_file import gpu_metrics
from virnuc_profiler.reports.export.open_metrics import COUNTER, Metric, gauge
from virnuc_profiler.sweep.results.verdicts.measurements import rate_of

if TYPE_CHECKING:
    from virnuc_profiler.cli.live.sweep_progress import ProgressLines


def sweep_metrics(progress: ProgressLines, labels: dict[str, str], *, running: bool) -> list[Metric]:
    """Return the metrics of a sweep.

    Args:
        progress: What is known of the sweep.
        labels: Labels of the samples: the folder of the sweep.
        running: Whether the sweep is still running.
    """
    trial, best = progress.trial(), progress.best
    outcomes = {"success": progress.succeeded, **progress.failed}
    found = None if best is None else rate_of(best)[0]

    def name(end: str) -> str:
        return f"virnuc_sweep_{end}"

    metrics = [
        gauge(name("running"), "Whether the sweep runs: 1 until it ends, then 0", int(running), labels),
        Metric(
            name("trials"),
            COUNTER,
            "Trials that have ended since this process began, by success or reason of failure",
            [({**labels, "outcome": outcome}, count) for outcome, count in outcomes.items()],
        ),
        gauge(name("planned_trials"), "Trials that were planned when this process began", progress.planned, labels),
        gauge(name("done_ratio"), "Share of the planned trials that is done", progress.share_done(), labels),
        gauge(
            name("remaining_seconds"),
            "Seconds that are left of the planned trials, without a confirmation",
            progress.seconds_left(),
            labels,
        ),
        gauge(name("best_sequences_per_second"), "Rate of the fastest trial so far", found, labels),
    ]
    if best is not None:
        metrics.append(
            gauge(
                name("best_info"),
                "Configuration of the fastest trial so far; the value is always 1",
                1,
                {**labels, "configuration": best.configuration.short_name},
            )
        )
    if running:
        metrics += [
            gauge(name("trial_sequences_per_second"), "Rate of the running trial", trial.sequences_per_s, labels),
            gauge(name("trial_tokens_per_second"), "Rate of the running trial", trial.tokens_per_s, labels),
            gauge(name("trial_packing_ratio"), "Share of the token budget that batches fill", trial.packing, labels),
            *gpu_metrics(trial.gpu, {**labels, "rank": "0"}),  # the labels of other commands
        ]
    return metrics
