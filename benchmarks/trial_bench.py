# SPDX-License-Identifier: MIT
"""Measure trials for a table: a model with a workload, warm, and its configurations one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.trial_rows import KNOBS, Row
from virnuc_profiler import generate_tuning_workload, load_esm2_model
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.trial.provenance import machine_description, model_description, software_versions
from virnuc_profiler.sweep.trial.run import measure_configuration
from virnuc_profiler.sweep.trial.warm_up import warm_up_model
from virnuc_profiler.targets.knobs.configuration import Configuration

_MACHINE: Final = (
    "gpu_models", "gpu_memory_gb", "driver_version", "cuda_version", "cpu_model", "cpu_usable_cores",
)  # fmt: skip
"""What a table says of the machine; not which one of its kind it is."""


@dataclass(frozen=True)
class Bench:
    """A model with a workload, ready to measure configurations.

    Attributes:
        model: The model.
        converter: Its batch converter.
        device: Device that the model is on.
        fasta: The sequences.
        folder: Folder of the telemetry, which is removed in the end.
        trial_seconds: Shortest trial; whole passes over the sequences are run.
    """

    model: Any
    converter: Any
    device: str
    fasta: FastaFile
    folder: str
    trial_seconds: float

    def measure(self, configuration: Configuration, block: int, place: int) -> Row:
        """Measure one configuration.

        Args:
            configuration: The configuration.
            block: Number of the block.
            place: Number of the trial in its block.
        """
        result = measure_configuration(
            configuration,
            self.fasta,
            self.folder,
            self.model,
            self.device,
            batch_converter=self.converter,
            cooldown_s="auto",
            trial_seconds=self.trial_seconds,
        )
        interval = result.rate_interval or {}
        return Row(
            block,
            place,
            *(configuration.values()[name] for name in KNOBS),
            tokens_per_sec=result.steady_tokens_per_sec,
            tokens_per_sec_low=interval.get("low"),
            tokens_per_sec_high=interval.get("high"),
            start_up_sec=result.start_up_sec,
            measured_sec=result.measured_sec,
            peak_memory_gb=result.peak_memory_gb,
            outcome=result.outcome or result.status,
        )

    def about(self) -> dict[str, Any]:
        """Return what a table says of its trials."""
        machine = machine_description()
        return {
            "machine": {name: machine[name] for name in _MACHINE},
            "versions": software_versions(),
            "model": model_description(self.model),
            "workload": {"sequences": len(self.fasta), "seed": 42},
            "trial_seconds": self.trial_seconds,
        }


@contextmanager
def warm_bench(model_name: str, device: str, num_sequences: int, trial_seconds: float) -> Iterator[Bench]:
    """Load a model with random weights, generate a workload, and warm up.

    Args:
        model_name: Name of the model.
        device: Name of the device.
        num_sequences: Number of sequences to generate.
        trial_seconds: Shortest trial.
    """
    with TemporaryDirectory() as folder:
        model, converter = load_esm2_model(model_name, device, weights="random")
        fasta = FastaFile.open(generate_tuning_workload(folder, num_sequences))
        warm_up_model(model, device, fasta, num_workers=1, batch_converter=converter)
        yield Bench(model, converter, device, fasta, folder, trial_seconds)
