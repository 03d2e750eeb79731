# SPDX-License-Identifier: MIT
"""The whole report on one run: its figures, its stages, its kernels, and what limited it."""

from __future__ import annotations

from virnuc_profiler.analysis.diagnosis.diagnose import Diagnosis, diagnose_observation
from virnuc_profiler.analysis.diagnosis.observation import observe
from virnuc_profiler.analysis.model_cost import recorded_ceiling, recorded_shape
from virnuc_profiler.analysis.summary.performance_figures import summarize_performance
from virnuc_profiler.analysis.summary.run_telemetry import report_document
from virnuc_profiler.reports.diagnosis_text import render_diagnosis
from virnuc_profiler.reports.kernel_table import render_kernels
from virnuc_profiler.reports.performance_text import render_performance
from virnuc_profiler.reports.stage_table import render_stages
from virnuc_profiler.telemetry.run_result import RunResult


def render_run(run: RunResult, width: int | None = None) -> str:
    """Render what ``virnuc-profiler report`` prints on a saved run: figures, stages, kernels if captured, diagnosis.

    Args:
        run: Run to render.
        width: Maximum number of characters of a line of a table; None for no limit.

    Raises:
        ValueError: The run's metadata contain NaN or infinity.
        TypeError: The run's metadata contain a type that JSON does not support.
    """
    performance, diagnosis = _judge(run)
    kernels = "" if run.kernels is None else f"{render_kernels(run.kernels, width)}\n\n"
    return f"{performance}\n{render_stages(run, width)}\n\n{kernels}{render_diagnosis(diagnosis)}\n"


def _judge(run: RunResult) -> tuple[str, Diagnosis]:
    """Return the figures and the diagnosis of a run, for both of which it is observed once."""
    observation = observe(run, recorded_shape(run.metadata))
    diagnosis = diagnose_observation(observation, run, recorded_ceiling(run.metadata))
    document = report_document(run, (observation, diagnosis))
    return render_performance(summarize_performance(document, ""), alone=False), diagnosis
