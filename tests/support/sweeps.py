# SPDX-License-Identifier: MIT
"""Sweeps without a model: workloads, conditions, and trials that return what a test wants."""

from pathlib import Path

from virnuc_profiler.sweep.configuration import Configuration
from virnuc_profiler.sweep.results import Conditions
from virnuc_profiler.sweep.session import Sweep, SweepListener
from virnuc_profiler.sweep.workload import Workload

WORKLOAD = Workload(Path("small.fasta"), "generated, seed 42", 2000, 2000, 430_000, 1000, "sha256:aa")
VALIDATION_WORKLOAD = Workload(Path("large.fasta"), "generated, seed 42", 5000, 5000, 1_075_000, 1002, "sha256:bb")


def conditions(**changes) -> Conditions:
    sections = {
        "machine": {"cpu_model": "a processor"},
        "versions": {"virnuc_profiler": "0.1.0", "torch": "2.13.0"},
        "model": {
            "model_name": "m",
            "weights": "random seed 0",
            "precision": "fp32",
            "attention_backend": "sdpa",
            "kernels": "torch",
        },
        "settings": {"device": "cpu", "device_name": "cpu", "device_memory_gb": None, "host": "here"},
    }
    for key, value in changes.items():
        section, _, name = key.partition("__")
        sections[section] = {**sections[section], name: value}
    return Conditions(**sections)


def success(config: Configuration, rate: float = 100.0, packing: float | None = 0.95, **changes) -> dict:
    return {
        "status": "success",
        "config": config.as_dict(),
        "elapsed_sec": 2000 / rate,
        "sequences_per_sec": rate,
        "tokens_per_sec": rate * 215,
        "gpu_util": 87.25,
        "packing_efficiency": packing,
        "peak_memory_gb": 6.543,
        **changes,
    }


def failure(config: Configuration, reason: str = "OOM", **changes) -> dict:
    return {
        "status": "failed",
        "reason": reason,
        "message": f"it failed with {reason}",
        "config": config.as_dict(),
        "peak_memory_gb": 79.5,
        **changes,
    }


def not_tried(config: Configuration, **changes) -> dict:
    return failure(
        config,
        predicted=True,
        peak_memory_gb=None,
        predicted_peak_memory_gb=123.456,
        available_memory_gb=84.5,
        memory="device",
        **changes,
    )


class FakeTrials:
    """Returns results by configuration, and remembers what was asked for."""

    def __init__(self, result_of=success):
        self.result_of = result_of
        self.calls: list[tuple[Workload, Configuration, Path]] = []

    def __call__(self, workload, configuration, output_dir, on_progress):
        self.calls.append((workload, configuration, output_dir))
        on_progress(workload.num_sequences)
        path = output_dir / f"telemetry_{configuration.run_id}.json"
        return {**self.result_of(configuration), "telemetry_path": str(path)}

    @property
    def configurations(self) -> list[Configuration]:
        return [configuration for _, configuration, _ in self.calls]


class Recorder(SweepListener):
    """Remembers what it was told."""

    def __init__(self):
        self.events = []

    def trial_started(self, step, configuration, workload):
        self.events.append(("started", step, configuration.run_id))

    def trial_finished(self, step, result):
        self.events.append(("finished", step, result["status"]))

    def step_finished(self, document):
        self.events.append(("step", document["step"]))


def fake_sweep(folder: Path, trials=None, **options) -> Sweep:
    return Sweep(
        folder,
        trials or FakeTrials(),
        options.pop("workload", WORKLOAD),
        VALIDATION_WORKLOAD,
        options.pop("conditions", conditions()),
        check_workload=options.pop("check_workload", lambda workload: None),  # there are no files
        **options,
    )
