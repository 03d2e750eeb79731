# SPDX-License-Identifier: MIT
"""A profiler for packed ESM-2 inference, and a sweep that finds its fastest safe configuration.

Names are imported when first used, so that ``import virnuc_profiler`` costs nothing and never imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "virnuc_profiler.capture.profiler": ("BatchProfiler",),
    "virnuc_profiler.capture.hardware": ("capture_hardware_info",),
    "virnuc_profiler.telemetry.logger": ("TelemetryLogger",),
    "virnuc_profiler.telemetry.run_result": ("RunResult",),
    "virnuc_profiler.reports.shard_files": ("aggregate_telemetry_shards",),
    "virnuc_profiler.analysis.summary.scaling_efficiency": ("calculate_scaling_efficiency",),
    "virnuc_profiler.reports.performance_text": ("generate_performance_report",),
    "virnuc_profiler.reports.telemetry_file": ("write_telemetry",),
    "virnuc_profiler.reports.stage_table": ("render_stages",),
    "virnuc_profiler.reports.diagnosis_text": ("render_diagnosis",),
    "virnuc_profiler.reports.run_report": ("render_run",),
    "virnuc_profiler.reports.comparison.compare_runs": ("compare_runs",),
    "virnuc_profiler.reports.comparison.comparison_text": ("render_comparison",),
    "virnuc_profiler.reports.captures.correlated_run": ("CorrelatedRun", "correlate_run", "render_correlated_run"),
    "virnuc_profiler.analysis.comparison.compared": ("Compared",),
    "virnuc_profiler.analysis.diagnosis.diagnose": ("Diagnosis", "diagnose_run"),
    "virnuc_profiler.analysis.model_cost": ("DeviceCeiling", "ModelShape"),
    "virnuc_profiler.inference.esm2.load": ("load_esm2_model",),
    "virnuc_profiler.inference.packing.collator": ("VarlenCollator",),
    "virnuc_profiler.inference.packing.pack_statistics": ("pack_statistics", "padded_statistics"),
    "virnuc_profiler.inference.sequences.dataset": ("IndexBasedDataset", "SequenceDataset"),
    "virnuc_profiler.inference.loading.loader": ("create_async_dataloader",),
    "virnuc_profiler.embed.embeddings_reader": ("open_embeddings",),
    "virnuc_profiler.embed.job_forecast": ("predict_embedding",),
    "virnuc_profiler.inference.runner": ("AsyncInferenceRunner",),
    "virnuc_profiler.targets.contract": ("Target", "TargetOptions"),
    "virnuc_profiler.targets.target_workload": ("TargetWorkload",),
    "virnuc_profiler.targets.knobs.configuration": ("Configuration",),
    "virnuc_profiler.targets.knobs.knob": ("BooleanKnob", "ChoiceKnob", "IntegerKnob", "Knob"),
    "virnuc_profiler.sweep.kernels.kernel_pass": ("add_kernels",),
    "virnuc_profiler.sweep.plan.workload": ("generate_tuning_workload",),
    "virnuc_profiler.sweep.trial.cleanup": ("cleanup_between_runs",),
    "virnuc_profiler.sweep.trial.single_gpu_benchmark": ("run_single_gpu_benchmark",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = [
    "AsyncInferenceRunner",
    "BatchProfiler",
    "BooleanKnob",
    "ChoiceKnob",
    "Compared",
    "Configuration",
    "CorrelatedRun",
    "DeviceCeiling",
    "Diagnosis",
    "IndexBasedDataset",
    "IntegerKnob",
    "Knob",
    "ModelShape",
    "RunResult",
    "SequenceDataset",
    "Target",
    "TargetOptions",
    "TargetWorkload",
    "TelemetryLogger",
    "VarlenCollator",
    "__version__",
    "add_kernels",
    "aggregate_telemetry_shards",
    "calculate_scaling_efficiency",
    "capture_hardware_info",
    "cleanup_between_runs",
    "compare_runs",
    "correlate_run",
    "create_async_dataloader",
    "diagnose_run",
    "generate_performance_report",
    "generate_tuning_workload",
    "load_esm2_model",
    "open_embeddings",
    "pack_statistics",
    "padded_statistics",
    "predict_embedding",
    "render_comparison",
    "render_correlated_run",
    "render_diagnosis",
    "render_run",
    "render_stages",
    "run_single_gpu_benchmark",
    "write_telemetry",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if TYPE_CHECKING:
    from virnuc_profiler.analysis.comparison.compared import Compared
    from virnuc_profiler.analysis.diagnosis.diagnose import Diagnosis, diagnose_run
    from virnuc_profiler.analysis.model_cost import DeviceCeiling, ModelShape
    from virnuc_profiler.analysis.summary.scaling_efficiency import calculate_scaling_efficiency
    from virnuc_profiler.capture.hardware import capture_hardware_info
    from virnuc_profiler.capture.profiler import BatchProfiler
    from virnuc_profiler.embed.embeddings_reader import open_embeddings
    from virnuc_profiler.embed.job_forecast import predict_embedding
    from virnuc_profiler.inference.esm2.load import load_esm2_model
    from virnuc_profiler.inference.loading.loader import create_async_dataloader
    from virnuc_profiler.inference.packing.collator import VarlenCollator
    from virnuc_profiler.inference.packing.pack_statistics import pack_statistics, padded_statistics
    from virnuc_profiler.inference.runner import AsyncInferenceRunner
    from virnuc_profiler.inference.sequences.dataset import IndexBasedDataset, SequenceDataset
    from virnuc_profiler.reports.captures.correlated_run import CorrelatedRun, correlate_run, render_correlated_run
    from virnuc_profiler.reports.comparison.compare_runs import compare_runs
    from virnuc_profiler.reports.comparison.comparison_text import render_comparison
    from virnuc_profiler.reports.diagnosis_text import render_diagnosis
    from virnuc_profiler.reports.performance_text import generate_performance_report
    from virnuc_profiler.reports.run_report import render_run
    from virnuc_profiler.reports.shard_files import aggregate_telemetry_shards
    from virnuc_profiler.reports.stage_table import render_stages
    from virnuc_profiler.reports.telemetry_file import write_telemetry
    from virnuc_profiler.sweep.kernels.kernel_pass import add_kernels
    from virnuc_profiler.sweep.plan.workload import generate_tuning_workload
    from virnuc_profiler.sweep.trial.cleanup import cleanup_between_runs
    from virnuc_profiler.sweep.trial.single_gpu_benchmark import run_single_gpu_benchmark
    from virnuc_profiler.targets.contract import Target, TargetOptions
    from virnuc_profiler.targets.knobs.configuration import Configuration
    from virnuc_profiler.targets.knobs.knob import BooleanKnob, ChoiceKnob, IntegerKnob, Knob
    from virnuc_profiler.targets.target_workload import TargetWorkload
    from virnuc_profiler.telemetry.logger import TelemetryLogger
    from virnuc_profiler.telemetry.run_result import RunResult
