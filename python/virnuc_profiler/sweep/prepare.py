# SPDX-License-Identifier: MIT
"""From what a user asks for to what can be measured: device, workload, model."""

from __future__ import annotations

import logging
import math
import os
import platform
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.analysis.memory_footprint import MemoryFootprint
from virnuc_profiler.inference.precision_check import LEAST_COSINE
from virnuc_profiler.sweep.cleanup import COOLDOWN_S, Cooldown
from virnuc_profiler.sweep.configuration import Configuration
from virnuc_profiler.sweep.device_memory import BYTES_PER_GB, limit_device_memory
from virnuc_profiler.sweep.memory_forecast import MemoryForecast, forecast_memory
from virnuc_profiler.sweep.provenance import machine_description, model_description, software_versions
from virnuc_profiler.sweep.results import Conditions
from virnuc_profiler.sweep.steps import VALIDATION_FACTOR
from virnuc_profiler.sweep.trial import run_single_gpu_benchmark
from virnuc_profiler.sweep.workload import MAX_SEQUENCE_LENGTH, Workload, generate_tuning_workload, read_workload

if TYPE_CHECKING:
    import torch

_WARM_UP_SEQUENCES: Final = {"cuda": 64, "cpu": 4}
_ODDITIES: Final = {
    "truncated_sequences": f"sequences cut to {MAX_SEQUENCE_LENGTH:,} residues",
    "unknown_residues": "letters that the model does not know",
    "oversize_batches": "batches over the token budget",
}

_log = logging.getLogger(__name__)


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
        least_cosine: of vectors in FP8 to those in bf16 and fp32; None for the usual bound.
    """

    output_dir: Path
    device: torch.device
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
    least_cosine: float | None = None

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


class MeasuredModel:
    """A loaded model, and how configurations of it are measured.

    Args:
        request: what is asked for.

    Attributes:
        forecast: of the memory that its packs take, measured once it is loaded; None on the CPU, or if that failed.

    Raises:
        UsageError: the model, precision or memory limit do not fit the device.
        ModelError: the weights cannot be had.
    """

    def __init__(self, request: Request) -> None:
        from virnuc_profiler.inference.model import load_esm2_model

        if request.device_memory_gb is not None:
            limit_device_memory(request.device, request.device_memory_gb)
        self._request = request
        self._warned = False
        self._model, self._batch_converter = load_esm2_model(
            request.model, request.device, precision=request.precision, weights=request.weights
        )
        limit_gb = request.device_memory_gb
        limit_bytes = None if limit_gb is None else round(limit_gb * BYTES_PER_GB)
        self.forecast: MemoryForecast | None = forecast_memory(self._model, request.device, limit_bytes)

    @property
    def description(self) -> dict[str, Any]:
        """The model as result files name it."""
        return model_description(self._model)

    def conditions(self) -> Conditions:
        """The circumstances of results with this model on this machine."""
        request = self._request
        return Conditions(
            machine=machine_description(),
            versions=software_versions(),
            model={**self.description, **self._footprint()},
            settings={
                "device": str(request.device),
                "device_name": device_name(request.device),
                "device_memory_gb": request.device_memory_gb,
                "host": platform.node(),
                "cooldown_s": request.cooldown_s,
                "timeout_s": request.timeout_s,
                "seed": request.seed if request.fasta is None else None,
                "try_all": request.try_all,
                "least_cosine": request.least_cosine,
                "warm_up": True,
            },
        )

    def run_trial(
        self,
        workload: Workload,
        configuration: Configuration,
        output_dir: Path,
        on_progress: Callable[[int], None] | None = None,
    ) -> dict[str, Any]:
        """Measures one configuration, see :func:`run_single_gpu_benchmark`, unless it surely does not fit."""
        predicted = self.predicted_failure(workload, configuration)
        if predicted is not None:
            _log.warning("%s was not tried: %s", configuration, predicted["message"])
            return predicted
        result = run_single_gpu_benchmark(
            workload.path,
            output_dir,
            self._model,
            self._request.device,
            configuration.num_workers,
            configuration.prefetch_factor,
            configuration.token_budget,
            configuration.buffer_size,
            batch_converter=self._batch_converter,
            num_sequences=workload.num_sequences,
            cooldown_s=self._request.cooldown_s,
            timeout_s=self._request.timeout_s,
            on_progress=on_progress,
            metadata=self._footprint(),
            capture_range=self._request.capture_range,
            least_cosine=LEAST_COSINE if self._request.least_cosine is None else self._request.least_cosine,
        )
        self._warn_once(result)
        return result

    def predicted_failure(self, workload: Workload, configuration: Configuration) -> dict[str, Any] | None:
        """The result of a configuration that is not tried, see :class:`MemoryForecast`; None of one that is."""
        if self._request.try_all or self.forecast is None:
            return None
        return self.forecast.predicted_failure(workload, configuration)

    def warm_up(self, workload: Workload, num_workers: int = 1) -> None:
        """Runs a few sequences unmeasured: what happens once in a process must not count against the first one.

        That is the start of the process from which workers are forked, the first use of each kernel, and the work
        spaces of the libraries. A failure here is none yet: the first configuration will show it.
        """
        count = min(_WARM_UP_SEQUENCES[self._request.device.type], workload.num_sequences)
        with tempfile.TemporaryDirectory(prefix="virnuc_profiler_") as folder:
            result = run_single_gpu_benchmark(
                workload.path,
                folder,
                self._model,
                self._request.device,
                num_workers,
                batch_converter=self._batch_converter,
                num_sequences=count,
                cooldown_s=0.0,
                timeout_s=self._request.timeout_s,
                failure_log_level=logging.DEBUG,
            )
        _log.debug("warm-up: %s", result["status"])

    def _footprint(self) -> dict[str, Any]:
        if self.forecast is None:
            return dict.fromkeys(field.name for field in fields(MemoryFootprint))
        return self.forecast.footprint.as_dict()

    def _warn_once(self, result: Mapping[str, Any]) -> None:
        """Says what of the sequences was not run as it stands in the file; once, since it is always the same."""
        odd = [f"{result[key]:,} {what}" for key, what in _ODDITIES.items() if result.get(key)]
        if odd and not self._warned and result["status"] == "success":
            self._warned = True
            _log.warning("not everything was run as it stands in the file: %s", "; ".join(odd))


def device_name(device: torch.device) -> str:
    """``NVIDIA H200``, or the processor's name."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{machine_description()['cpu_model'] or platform.machine()}, {usable_cores()} cores"


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))
