# SPDX-License-Identifier: MIT
"""What is to be measured, in terms that need no PyTorch: a process that only supervises can hold it too."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.plan.cooldown import COOLDOWN_S, Cooldown
from virnuc_profiler.sweep.plan.steps import VALIDATION_FACTOR
from virnuc_profiler.sweep.plan.workload import Workload, generate_tuning_workload, read_workload

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class DeviceName:
    """A device that is there, named as PyTorch names it.

    Attributes:
        type: ``cpu`` or ``cuda``.
        index: of a CUDA device; None of the CPU.
    """

    type: str
    index: int | None = None

    @classmethod
    def parse(cls, text: str) -> DeviceName:
        """Reads ``cpu`` or ``cuda:0``."""
        kind, _, index = text.partition(":")
        return cls(kind, int(index) if index else None)

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


ResolveDevice = Callable[[str, str | None], "torch.device | DeviceName"]
"""Resolves a device by name and checks that the precision fits it."""

HARMLESS: Final = ("cooldown", "timeout", "isolation", "start_timeout", "progress_timeout")
"""Options that may differ when a sweep is continued: they change how long it takes, not what is measured."""

_FIELDS: Final[Mapping[str, str]] = {
    "device": "device",
    "model": "model",
    "num_sequences": "num_sequences",
    "weights": "weights",
    "precision": "precision",
    "cooldown": "cooldown_s",
    "timeout": "timeout_s",
    "seed": "seed",
    "device_memory_gb": "device_memory_gb",
    "try_all": "try_all",
    "min_cosine": "min_cosine",
    "fasta": "fasta",
}
"""Options and the fields of a request that they fill."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be measured, as ``sweep`` and ``profile`` ask for it.

    Attributes:
        output_dir: folder of the results.
        device: where, already found.
        model: its full name.
        fasta: the user's sequences; None to generate some.
        num_sequences: how many; of a file, the first ones. None: all of the file.
        weights: see :func:`load_esm2_model`.
        precision: alike; None leaves the choice to the device.
        cooldown_s: pause between configurations; ``"auto"``: as long as the checks of the clean-up need.
        timeout_s: time limit of each; None for none.
        seed: of the generated sequences.
        device_memory_gb: limit on this process's device memory; None for none.
        capture_range: whether measured runs, but no warm-up, are bracketed for nsys or ncu.
        try_all: whether configurations that surely do not fit the device's memory are tried nevertheless.
        min_cosine: of vectors in FP8 to those in bf16 and fp32; None for the usual bound.
    """

    output_dir: Path
    device: torch.device | DeviceName
    model: str
    fasta: Path | None = None
    num_sequences: int | None = None
    weights: str = "auto"
    precision: str | None = None
    cooldown_s: Cooldown = COOLDOWN_S
    timeout_s: float | None = None
    seed: int = 42
    device_memory_gb: float | None = None
    capture_range: bool = False
    try_all: bool = False
    min_cosine: float | None = None

    def workload(self, factor: float = 1.0) -> Workload:
        """The sequences to run, generated or the user's; `factor` times as many, if there are.

        Raises:
            WorkloadError: the user's file cannot be read.
            OutputError: generated ones cannot be written.
        """
        count = None if self.num_sequences is None else math.ceil(factor * self.num_sequences)
        if self.fasta is not None:
            return read_workload(self.fasta, "file", count)
        if count is None:
            raise ValueError("num_sequences must be given to generate a workload")
        path = generate_tuning_workload(self.output_dir, count, self.seed)
        return read_workload(path, f"generated, seed {self.seed}")

    def validation_workload(self) -> Workload:
        """The longer workload of the validation."""
        return self.workload(VALIDATION_FACTOR)

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types, for another process."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        texts = {
            name: None if values[name] is None else str(values[name]) for name in ("output_dir", "device", "fasta")
        }
        return {**values, **texts}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Request:
        """The request that :meth:`as_dict` described."""
        return cls(
            **{
                **values,
                "output_dir": Path(values["output_dir"]),
                "device": DeviceName.parse(values["device"]),
                "fasta": None if values["fasta"] is None else Path(values["fasta"]),
            }
        )


class TrialModel(Protocol):
    """A loaded model, and how configurations of it are measured: in this process or in another.

    Used as a context manager, it is closed at the end.
    """

    @property
    def description(self) -> dict[str, Any]:
        """The model as result files name it."""

    @property
    def device_name(self) -> str:
        """The device's own name, as people know it."""

    @property
    def forecast(self) -> object | None:
        """Says, as text, what the model takes and which budgets fit; None if nothing is known."""

    def conditions(self) -> Conditions:
        """The circumstances of results with this model on this machine."""

    def warm_up(self, workload: Workload, num_workers: int = 1) -> None:
        """Runs a few sequences unmeasured."""

    def run_trial(
        self,
        workload: Workload,
        configuration: Configuration,
        output_dir: Path,
        on_progress: Callable[[int], None] | None = None,
    ) -> Mapping[str, Any]:
        """Measures one configuration; returns its result."""

    def predicted_failure(self, workload: Workload, configuration: Configuration) -> dict[str, Any] | None:
        """The result of a configuration that surely does not fit the device; None of one that may."""

    def close(self) -> None:
        """Lets the model go; may be called again."""


def options_of(request: Request) -> dict[str, Any]:
    """The options by which :func:`request_of` makes this request again, as JSON has them."""
    options = {option: getattr(request, field) for option, field in _FIELDS.items()}
    return {name: recorded(name, value) for name, value in options.items()}


def request_of(options: Mapping[str, Any], output_dir: Path, resolve_device: ResolveDevice) -> Request:
    """The request that the options of a journal make.

    Raises:
        UsageError: the device is not there, or the precision does not fit it.
    """
    values = {field: options[option] for option, field in _FIELDS.items()}
    fasta = None if values["fasta"] is None else Path(values["fasta"])
    device = resolve_device(values["device"], values["precision"])
    return Request(**{**values, "output_dir": output_dir, "device": device, "fasta": fasta})


def recorded(option: str, value: Any) -> Any:
    """The value of an option as a journal holds it: names of files hold from any folder."""
    if option == "fasta" and value is not None:
        return str(Path(value).absolute())
    if option == "weights" and value not in ("auto", "random", "pretrained"):
        return str(Path(value).absolute())
    if option == "device":
        return str(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value
