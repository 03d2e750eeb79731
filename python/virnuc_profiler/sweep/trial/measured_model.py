# SPDX-License-Identifier: MIT
"""A loaded model in this process, ready to be measured."""

from __future__ import annotations

import logging
import os
import platform
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import torch

from virnuc_profiler.analysis.memory_footprint import MemoryFootprint
from virnuc_profiler.inference.esm2.precision_check import MIN_COSINE
from virnuc_profiler.sweep.machine.device_memory import BYTES_PER_GB, DeviceMemory, limit_device_memory
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.plan.request import Request
from virnuc_profiler.sweep.plan.workload import MAX_SEQUENCE_LENGTH, Workload
from virnuc_profiler.sweep.trial.memory_forecast import MemoryForecast, forecast_memory
from virnuc_profiler.sweep.trial.provenance import machine_description, model_description, software_versions
from virnuc_profiler.sweep.trial.run import run_single_gpu_benchmark

__all__ = ["MeasuredModel", "Request", "device_name", "usable_cores"]

_WARM_UP_SEQUENCES: Final = {"cuda": 64, "cpu": 4}
_ODDITIES: Final = {
    "truncated_sequences": f"sequences cut to {MAX_SEQUENCE_LENGTH:,} residues",
    "unknown_residues": "letters that the model does not know",
    "oversize_batches": "batches over the token budget",
}

_log = logging.getLogger(__name__)


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
        from virnuc_profiler.inference.esm2.load import load_esm2_model

        device = torch.device(str(request.device))
        if request.device_memory_gb is not None:
            limit_device_memory(device, request.device_memory_gb)
        self._request = request
        self._device = device
        self._warned = False
        self._model, self._batch_converter = load_esm2_model(
            request.model, device, precision=request.precision, weights=request.weights
        )
        limit_gb = request.device_memory_gb
        limit_bytes = None if limit_gb is None else round(limit_gb * BYTES_PER_GB)
        self.forecast: MemoryForecast | None = forecast_memory(self._model, device, limit_bytes)

    @property
    def description(self) -> dict[str, Any]:
        """The model as result files name it."""
        return model_description(self._model)

    @property
    def device_name(self) -> str:
        """See :func:`device_name`."""
        return device_name(self._device)

    def held_device_bytes(self) -> int | None:
        """Device memory that tensors of this process hold now; None on the CPU, and once CUDA has failed."""
        return DeviceMemory(self._device).allocated_bytes()

    def conditions(self) -> Conditions:
        """The circumstances of results with this model on this machine."""
        request = self._request
        return Conditions(
            machine=machine_description(),
            versions=software_versions(),
            model={**self.description, **self._footprint()},
            settings={
                "device": str(request.device),
                "device_name": self.device_name,
                "device_memory_gb": request.device_memory_gb,
                "host": platform.node(),
                "cooldown_s": request.cooldown_s,
                "timeout_s": request.timeout_s,
                "seed": request.seed if request.fasta is None else None,
                "try_all": request.try_all,
                "min_cosine": request.min_cosine,
                "warm_up": True,
                "isolation": "none",
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
            self._device,
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
            min_cosine=MIN_COSINE if self._request.min_cosine is None else self._request.min_cosine,
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
        count = min(_WARM_UP_SEQUENCES[self._device.type], workload.num_sequences)
        with tempfile.TemporaryDirectory(prefix="virnuc_profiler_") as folder:
            result = run_single_gpu_benchmark(
                workload.path,
                folder,
                self._model,
                self._device,
                num_workers,
                batch_converter=self._batch_converter,
                num_sequences=count,
                cooldown_s=0.0,
                timeout_s=self._request.timeout_s,
                failure_log_level=logging.DEBUG,
            )
        _log.debug("warm-up: %s", result["status"])

    def close(self) -> None:
        """Lets the model go; nothing can be measured with it afterwards."""
        if not hasattr(self, "_model"):
            return
        self.forecast = None
        del self._model, self._batch_converter

    def __enter__(self) -> MeasuredModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{machine_description()['cpu_model'] or platform.machine()}, {usable_cores()} cores"


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))
