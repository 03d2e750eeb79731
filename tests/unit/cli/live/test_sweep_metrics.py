# SPDX-License-Identifier: MIT
"""The metrics of a sweep."""

import pytest

from tests.support.sweeps import WORKLOAD, failure, success
from tests.unit.cli.live.test_view_rows import READING
from virnuc_profiler.cli.live.sweep_metrics import sweep_metrics
from virnuc_profiler.cli.live.sweep_progress import ProgressLines
from virnuc_profiler.reports.export.open_metrics import render_metrics
from virnuc_profiler.sweep.trial.loaded_model import LiveFigures
from virnuc_profiler.targets.knobs.configuration import BASELINE

parser = pytest.importorskip("prometheus_client.openmetrics.parser")
LABELS = {"folder": "/data/sweep"}


def values(progress, running):
    text = render_metrics(sweep_metrics(progress, LABELS, running=running), open_metrics=True)
    return {
        (
            sample.name.removeprefix("virnuc_"),
            *(value for name, value in sample.labels.items() if name not in ("folder", "rank")),
        ): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_sweep_that_has_not_begun():
    assert values(ProgressLines([WORKLOAD], 0.0), True) == {
        ("sweep_running",): 1,
        ("sweep_trials_total", "success"): 0,
        ("sweep_planned_trials",): 1,
        ("sweep_done_ratio",): 0,
    }


def test_a_sweep_that_runs_and_one_that_has_ended():
    clock = [0.0]
    progress = ProgressLines(
        [WORKLOAD] * 4, 0.0, lambda: clock[0], figures=lambda: LiveFigures(batches=25, gpu=READING)
    )
    for result in (success(BASELINE, 123.5), failure(BASELINE), failure(BASELINE, "timeout"), failure(BASELINE)):
        progress.trial_started("packing", BASELINE, WORKLOAD)
        clock[0] += 10
        progress.trial_finished("packing", result)
    progress.trial_started("confirmation", BASELINE, WORKLOAD)
    for _ in range(2):
        clock[0] += 1
        progress.trial_counted(50_000 * int(clock[0] - 40))
        progress.trial_progressed(200 * int(clock[0] - 40))
    ended = {
        ("sweep_trials_total", "success"): 1,
        ("sweep_trials_total", "OOM"): 2,
        ("sweep_trials_total", "timeout"): 1,
        ("sweep_planned_trials",): 4,
        ("sweep_done_ratio",): 1,
        ("sweep_remaining_seconds",): 0,
        ("sweep_best_sequences_per_second",): 123.5,
        ("sweep_best_info", "4w 4pf 4096tb 2000bs"): 1,
    }
    found = values(progress, True)
    assert ended.items() <= found.items()
    assert found["sweep_running",] == 1
    assert found["sweep_trial_tokens_per_second",] == 50_000
    assert found["sweep_trial_sequences_per_second",] == 200
    assert round(found["sweep_trial_packing_ratio",], 3) == 0.977
    assert found["gpu_utilization_ratio",] == 0.97
    assert values(progress, False) == {("sweep_running",): 0, **ended}
