# SPDX-License-Identifier: MIT
"""What is to be measured, in terms that need no PyTorch, so that a process that only supervises can hold it too."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.sweep.plan.cooldown import AUTO, Cooldown
from virnuc_profiler.sweep.plan.steps import VALIDATION_FACTOR, Grid
from virnuc_profiler.sweep.plan.workload import Workload, generate_tuning_workload, part_of, workload_of, write_skipped
from virnuc_profiler.targets.contract import TargetOptions
from virnuc_profiler.targets.knobs.configuration import (
    BUILTIN_KNOBS,
    BUILTIN_TARGET,
    Configuration,
    KnobSet,
    with_absolute_path,
)
from virnuc_profiler.targets.knobs.knob import KnobValue

if TYPE_CHECKING:
    import torch

    from virnuc_profiler.inference.sequences.fasta import FastaFile


@dataclass(frozen=True, slots=True)
class DeviceName:
    """A device that is present, named as PyTorch names it.

    Attributes:
        type: ``cpu`` or ``cuda``.
        index: Index of a CUDA device; None for the CPU.
    """

    type: str
    index: int | None = None

    @classmethod
    def parse(cls, text: str) -> DeviceName:
        """Read ``cpu`` or ``cuda:0``."""
        kind, _, index = text.partition(":")
        return cls(kind, int(index) if index else None)

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


ModelKnobs = Mapping[str, "Sequence[KnobValue]"]
"""Values of knobs that need a model of their own, by the name of the knob: one if it is fixed, several if it varies."""

ResolveDevice = Callable[[str, ModelKnobs], "torch.device | DeviceName"]
"""Resolves a device by name, and refuses values of the model's knobs that it cannot compute with."""

HARMLESS: Final = ("cooldown", "timeout", "isolation", "start_timeout", "progress_timeout")
"""Options that may differ when a sweep is continued: they change how long it takes, not what is measured."""

_FIELDS: Final[Mapping[str, str]] = {
    "device": "device",
    "model": "model",
    "num_sequences": "num_sequences",
    "weights": "weights",
    "cooldown": "cooldown_s",
    "timeout": "timeout_s",
    "seed": "seed",
    "device_memory_gb": "device_memory_gb",
    "try_all": "try_all",
    "min_cosine": "min_cosine",
    "fasta": "fasta",
    "skip_invalid": "skip_invalid",
    "strict": "strict",
    "first": "first",
    "precision_target": "precision_target",
    "trial_seconds": "trial_seconds",
}
"""Options and the fields of a request that they fill; the knobs of the model come on top."""

NEW_OPTIONS: Final[Mapping[str, Any]] = {
    "skip_invalid": False,
    "strict": False,
    "first": True,
    "precision_target": None,
    "trial_seconds": None,
    "target": BUILTIN_TARGET,
}
"""Options that journals of older versions lack, with the values that mean what those versions did."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be measured, as ``sweep`` and ``profile`` ask for it.

    Attributes:
        output_dir: Folder of the results.
        device: Device to measure on, already resolved.
        model: Name of the model, full for the built-in target; None for that of the target's own choice.
        fasta: The user's sequences; None to generate some.
        num_sequences: Number of sequences; None takes the whole file, in its order.
        weights: ``auto``, ``pretrained``, ``random`` or the path of weights.
        model_knobs: Values of the model's knobs to load it with first. A knob that is left out has its default.
        varied: Names of the model's knobs that the sweep varies, so that each configuration has its own value.
        cooldown_s: Pause between configurations in seconds; ``"auto"`` waits as long as the clean-up's checks need.
        timeout_s: Time limit of each configuration in seconds; None for none.
        seed: Random seed of the generated sequences, or of the sample of a file.
        device_memory_gb: Limit on this process's device memory in GB; None for none.
        capture_range: Whether measured runs, but no warm-up, are bracketed for nsys or ncu.
        try_all: Whether configurations that cannot fit the device's memory are run nevertheless.
        min_cosine: Lowest cosine similarity of vectors in FP8 to those in bf16 and fp32; None for the usual bound.
        skip_invalid: Whether records of `fasta` that are not valid are left out, instead of the file being refused.
        strict: Whether `fasta` is refused if it looks like something other than proteins.
        first: Whether the first `num_sequences` of `fasta` are run, instead of a random sample stratified by length.
        precision_target: Relative half-width of the steady rate's interval at which a trial stops repeating its
            workload; None to repeat for `trial_seconds`.
        trial_seconds: Seconds after start-up in which a trial repeats its workload; None to run it once.
        target: What is measured: ``builtin``, the name of another target, ``module:factory``, or ``path.py:factory``.
        part: Number of the part that this process runs, and how many parts other ranks run; None for all.
    """

    output_dir: Path
    device: torch.device | DeviceName
    model: str | None
    fasta: Path | None = None
    num_sequences: int | None = None
    weights: str = "auto"
    model_knobs: Mapping[str, KnobValue] = field(default_factory=dict)
    varied: tuple[str, ...] = ()
    cooldown_s: Cooldown = AUTO
    timeout_s: float | None = None
    seed: int = 42
    device_memory_gb: float | None = None
    capture_range: bool = False
    try_all: bool = False
    min_cosine: float | None = None
    skip_invalid: bool = False
    strict: bool = False
    first: bool = False
    precision_target: float | None = None
    trial_seconds: float | None = None
    target: str = BUILTIN_TARGET
    part: tuple[int, int] | None = None

    def workload(self, factor: float = 1.0) -> Workload:
        """Read or generate the sequences to run.

        Args:
            factor: Multiple of `num_sequences` to take, if there are that many.

        Raises:
            WorkloadError: The user's file cannot be read.
            OutputError: Generated sequences cannot be written.
        """
        return self.open_workload(factor)[0]

    def open_workload(self, factor: float = 1.0) -> tuple[Workload, FastaFile]:
        """Read or generate the sequences to run, and return them with their file.

        What is measured from this file is what the workload describes, since the file notices when it is changed.

        Args:
            factor: Multiple of `num_sequences` to take, if there are that many.

        Raises:
            WorkloadError: The user's file cannot be read.
            OutputError: Generated sequences cannot be written.
        """
        from virnuc_profiler.inference.sequences.fasta import FastaFile  # needs the compiled core; --help does not

        count = None if self.num_sequences is None else math.ceil(factor * self.num_sequences)
        folder = self.output_dir
        if self.part is not None:  # no two ranks write one file
            folder /= "rank{}of{}".format(*self.part)
        if self.fasta is not None:
            fasta = FastaFile.open(self.fasta, skip_invalid=self.skip_invalid, strict=self.strict)
            if fasta.skipped or self.part is None:
                write_skipped(fasta, folder)
            workload = workload_of(fasta, "file", count, self.sample_seed)
        elif count is not None:
            fasta = FastaFile.open(generate_tuning_workload(folder, count, self.seed))
            workload = workload_of(fasta, f"generated, seed {self.seed}")
        else:
            raise ValueError("num_sequences must be given to generate a workload")
        return (workload if self.part is None else part_of(workload, fasta, *self.part)), fasta

    @property
    def sample_seed(self) -> int | None:
        """Random seed of the sample of the user's file; None if its first sequences, or all, are run in its order."""
        sampled = self.fasta is not None and self.num_sequences is not None and not self.first
        return self.seed if sampled else None

    def validation_workload(self) -> Workload:
        """Read or generate the longer workload of the validation."""
        return self.workload(VALIDATION_FACTOR)

    def for_configuration(self, configuration: Configuration) -> Request:
        """Return this request with the values of the model's knobs that a configuration names."""
        return replace(self, model_knobs={**self.model_knobs, **configuration.values("model")})

    def model_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments by which the model is loaded with the values of its knobs."""
        return {BUILTIN_KNOBS[name].argument: value for name, value in self.model_knobs.items() if value is not None}

    def target_options(self) -> TargetOptions:
        """Return what the factory of the target is given."""
        precision = self.model_knobs.get("precision")
        return TargetOptions(str(self.device), self.model, self.weights, None if precision is None else str(precision))

    def describe_model(self) -> dict[str, Any]:
        """Return what is known of the model before it is loaded, or if it cannot be loaded."""
        return {"model_name": self.model, **self.model_knobs}

    def to_json(self) -> dict[str, Any]:
        """Return the request in JSON's types, for another process."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        texts = {
            name: None if values[name] is None else str(values[name]) for name in ("output_dir", "device", "fasta")
        }
        return {**values, **texts, "model_knobs": dict(self.model_knobs), "varied": list(self.varied)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Request:
        """Read what :meth:`to_json` returned."""
        return cls(
            **{
                **values,
                "output_dir": Path(values["output_dir"]),
                "device": DeviceName.parse(values["device"]),
                "fasta": None if values["fasta"] is None else Path(values["fasta"]),
                "varied": tuple(values["varied"]),
                "part": None if values.get("part") is None else tuple(values["part"]),
            }
        )


def options_of(request: Request) -> dict[str, Any]:
    """Return the options by which :func:`request_of` makes this request again, as JSON.

    Values of knobs that the sweep varies are not among them: its grid holds them.
    """
    options = {option: getattr(request, name) for option, name in _FIELDS.items()}
    fixed = {name: request.model_knobs.get(name) for name in BUILTIN_KNOBS.model_knobs}
    options |= {name: None if name in request.varied else value for name, value in fixed.items()}
    if request.target != BUILTIN_TARGET:  # journals of the built-in target stay as they are
        options["target"] = request.target
    return {name: recorded(name, value) for name, value in options.items()}


def request_of(
    options: Mapping[str, Any],
    grid: Grid,
    output_dir: Path,
    resolve_device: ResolveDevice,
    target_knobs: KnobSet = BUILTIN_KNOBS,
) -> Request:
    """Make the request that a journal's options describe.

    Args:
        options: The options, as :func:`options_of` returned them.
        grid: The sweep's lists of values.
        output_dir: Folder of the results.
        resolve_device: Resolves the device and checks that it can compute with the model's knobs.
        target_knobs: Knobs of the sweep's target.

    Raises:
        UsageError: The device is not there, or cannot compute with one of the values.
    """
    options = {**NEW_OPTIONS, **options}
    values = {name: options[option] for option, name in _FIELDS.items()}
    knobs = model_knobs(grid, options, target_knobs)
    return Request(
        **{
            **values,
            "output_dir": output_dir,
            "device": resolve_device(values["device"], knobs),
            "fasta": None if values["fasta"] is None else Path(values["fasta"]),
            "model_knobs": {name: chosen[0] for name, chosen in knobs.items()},
            "varied": tuple(name for name in knobs if name in grid),
            "target": options["target"],
        }
    )


def model_knobs(
    grid: Grid, fixed: Mapping[str, Any], target_knobs: KnobSet = BUILTIN_KNOBS
) -> dict[str, tuple[KnobValue, ...]]:
    """Return all values of the model's knobs that a sweep needs.

    A precision is one of them even if the target has no such knob, since its factory is given one.

    Args:
        grid: Lists of values; a knob that is in it varies.
        fixed: Single values of the other knobs by name; None or absent for the default.
        target_knobs: Knobs of the target.
    """
    names = (*target_knobs.model_knobs, *(name for name in BUILTIN_KNOBS.model_knobs if name not in target_knobs))
    values = {name: tuple(grid[name]) if name in grid else (fixed.get(name),) for name in names}
    return {name: chosen for name, chosen in values.items() if chosen != (None,)}


def recorded(option: str, value: Any) -> Any:
    """Return the value of an option as a journal holds it, with file names that hold from any folder."""
    if option == "target":
        return with_absolute_path(value)
    if option == "fasta" and value is not None:
        return str(Path(value).absolute())
    if option == "weights" and value not in ("auto", "random", "pretrained"):
        return str(Path(value).absolute())
    if option == "device":
        return str(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value
