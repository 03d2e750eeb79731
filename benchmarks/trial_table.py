# SPDX-License-Identifier: MIT
"""Tables of trials: a CSV file with one row for each trial, and a comment that says what was measured on which machine.

The comment in the first line is ``# `` and one JSON object. A table can be continued after its writer was ended.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from virnuc_profiler import generate_tuning_workload, load_esm2_model
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.trial.provenance import machine_description, model_description, software_versions
from virnuc_profiler.sweep.trial.run import measure_configuration
from virnuc_profiler.sweep.trial.warm_up import warm_up_model

_MACHINE: Final = (
    "gpu_models", "gpu_memory_gb", "driver_version", "cuda_version", "cpu_model", "cpu_usable_cores",
)  # fmt: skip
"""What a table says of the machine; not which one of its kind it is."""


@dataclass(frozen=True, slots=True)
class Row:
    """One trial of the table.

    Attributes:
        block: Number of the block, from 0.
        place: Number of the trial in its block, from 0.
        num_workers: DataLoader processes.
        prefetch_factor: Chunks that each worker keeps ready.
        token_budget: Most tokens of a packed batch.
        buffer_size: Sequences that are collected before they are packed.
        tokens_per_sec: Tokens per second after warm-up; empty if the trial failed or is too short to tell.
        tokens_per_sec_low: Lower end of the 95 % interval of that rate.
        tokens_per_sec_high: Upper end of the 95 % interval of that rate.
        start_up_sec: Seconds until the first batch was complete.
        measured_sec: Seconds after warm-up.
        peak_memory_gb: Peak device memory in GB of 10⁹ bytes.
        outcome: ``ok``, or what happened.
    """

    block: int
    place: int
    num_workers: int
    prefetch_factor: int
    token_budget: int
    buffer_size: int
    tokens_per_sec: float | None
    tokens_per_sec_low: float | None
    tokens_per_sec_high: float | None
    start_up_sec: float | None
    measured_sec: float | None
    peak_memory_gb: float | None
    outcome: str


COLUMNS: Final = tuple(each.name for each in fields(Row))
KNOBS: Final = ("num_workers", "prefetch_factor", "token_budget", "buffer_size")


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


def begin(table: Path, about: Mapping[str, Any]) -> None:
    """Write the first lines of a table: what is measured, and the names of the columns."""
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text(f"# {json.dumps(about)}\n{','.join(COLUMNS)}\n", encoding="utf-8")


def append(table: Path, row: Row) -> None:
    """Add a row to a table."""
    with table.open("a", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(
            {name: _cell(value) for name, value in asdict(row).items()}
        )


def rows_of(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table; none if it does not exist."""
    if not table.exists():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        next(file)  # the comment
        return list(csv.DictReader(file))


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
