# SPDX-License-Identifier: MIT
"""A loaded model in this process, ready to be measured."""

from __future__ import annotations

import gc
import logging
import math
import platform
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from virnuc_profiler.analysis.memory_footprint import MemoryFootprint
from virnuc_profiler.capture.cpu_limits import cpu_limits
from virnuc_profiler.capture.sampling.live_reading import latest_reading
from virnuc_profiler.inference.esm2.precision_check import MIN_COSINE
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.kernels.kernel_pass import loop_of, save_kernels
from virnuc_profiler.sweep.machine.device_memory import BYTES_PER_GB, DeviceMemory, limit_device_memory
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.cooldown import AUTO
from virnuc_profiler.sweep.plan.request import Request
from virnuc_profiler.sweep.plan.trial_length import brief_seconds
from virnuc_profiler.sweep.plan.workload import MAX_SEQUENCE_LENGTH, Workload
from virnuc_profiler.sweep.plan.workload_files import WorkloadFiles
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.trial.loaded_model import LiveFigures, with_model
from virnuc_profiler.sweep.trial.memory_forecast import MemoryForecast, forecast_memory
from virnuc_profiler.sweep.trial.outcome import failed_load, warn_of_oddities
from virnuc_profiler.sweep.trial.provenance import (
    conditions_of,
    machine_description,
    model_description,
    software_versions,
)
from virnuc_profiler.sweep.trial.run import measure_configuration
from virnuc_profiler.sweep.trial.warm_up import warm_up_model
from virnuc_profiler.targets.builtin_source import BuiltinSource
from virnuc_profiler.targets.knobs.configuration import Configuration

__all__ = ["MeasuredModel", "Request", "device_name", "usable_cores"]

_log = logging.getLogger(__name__)


class MeasuredModel:
    """A loaded model, with which configurations are measured.

    A configuration that names other values of the model's knobs, such as another precision, has the model loaded
    again: the model before is released first, because both may not fit the device.

    Args:
        request: What is asked for.
        fasta: Open file of the workload; None to open it before the first run. A file is indexed once.

    Attributes:
        forecast: Forecast of the memory that packs take, measured once the model is loaded; None on the CPU, or if
            that failed.

    Raises:
        UsageError: Model, precision or memory limit do not fit the device.
        ModelError: The weights are not available.
    """

    def __init__(self, request: Request, fasta: FastaFile | None = None) -> None:
        device = torch.device(str(request.device))
        if request.device_memory_gb is not None:
            limit_device_memory(device, request.device_memory_gb)
        self._device = device
        self._files = WorkloadFiles(fasta)
        self._warned = False
        self._warm_up: tuple[Workload, int] | None = None
        self._is_warm: bool | None = None  # None: no warm-up was tried since the model was loaded
        self.forecast: MemoryForecast | None = None
        self._load(request)

    @property
    def description(self) -> dict[str, Any]:
        """The model as result files name it."""
        return model_description(self._model)

    @property
    def device_name(self) -> str:
        """The product name of the device."""
        return device_name(self._device)

    def held_device_bytes(self) -> int | None:
        """Return the device memory that tensors of this process hold; None on the CPU, and once CUDA has failed."""
        return DeviceMemory(self._device).allocated_bytes()

    def conditions(self) -> Conditions:
        """Return the conditions of results with this model on this machine."""
        model = {**self.description, **self._footprint()}
        return conditions_of(self._request, model, self.device_name, software_versions())

    def run_trial(
        self,
        workload: Workload,
        configuration: Configuration,
        output_dir: Path,
        on_progress: Callable[[int], None] | None = None,
        on_tokens: Callable[[int], None] | None = None,
        *,
        brief: bool = False,
    ) -> Result:
        """Measure one configuration, unless it cannot fit.

        Args:
            workload: Sequences to run.
            configuration: Values of all knobs.
            output_dir: Folder of the telemetry file and the run.
            on_progress: Called with the number of sequences that are done, after each batch.
            on_tokens: Called with the number of tokens that are done, after each batch.
            brief: Whether the sequences are repeated only briefly, and the pause is only as long as the clean-up needs.

        Returns:
            The result; a model that cannot be loaded is a failure of its configurations.

        Raises:
            WorkloadError: The file of sequences cannot be read, or is not the one that the workload describes.
        """
        try:
            reloaded = self._load_for(configuration)
        except Exception as error:
            failed = failed_load(error, configuration, "its model could not be loaded")
            return with_model(failed, self._request.describe_model(), True)
        if self._is_warm is None and self._warm_up is not None:
            self.warm_up(*self._warm_up)
        return with_model(
            self._measure(workload, configuration, output_dir, on_progress, on_tokens, brief=brief),
            {**self.description, **self._footprint()},
            reloaded,
        )

    def add_kernels(self, workload: Workload, configuration: Configuration, run_path: Path, num_batches: int) -> None:
        """Run some batches of a measured run again under CUPTI, and save the kernels with that run.

        Args:
            workload: Sequences of the run.
            configuration: Values of all knobs.
            run_path: The saved run.
            num_batches: Number of batches to capture.

        Raises:
            LibraryUnavailable: There is no GPU, or CUPTI recorded nothing.
            ValueError: The run has too few batches.
        """
        self._load_for(configuration)
        fasta, sample = self._files.opened(workload), self._files.sample(workload)
        whole = sample is None and workload.num_sequences == len(fasta)
        source = BuiltinSource(
            fasta,
            None if whole else np.arange(workload.num_sequences) if sample is None else sample.positions,
            self._model,
            self._device,
            configuration,
            max_residues=MAX_SEQUENCE_LENGTH,
            batch_converter=self._batch_converter,
            min_cosine=MIN_COSINE if self._request.min_cosine is None else self._request.min_cosine,
            timeout_s=self._request.timeout_s,
            precision_target=None,
            trial_seconds=math.inf,  # until the capture is complete
            count_tokens=False,
        )
        save_kernels(run_path, loop_of(source), num_batches=num_batches, device=self._device)

    @property
    def largest_budget(self) -> int | None:
        """The largest token budget that is forecast to fit; None where nothing is forecast."""
        return None if self.forecast is None else self.forecast.largest_budget()

    def predicted_failure(self, workload: Workload, configuration: Configuration) -> Result | None:
        """Return the result of a configuration that cannot fit the device; None if it may fit.

        Args:
            workload: Sequences that would be run.
            configuration: Values of all knobs.
        """
        self._load_for(configuration)
        return self._predicted_failure(workload, configuration)

    def warm_up(self, workload: Workload, num_workers: int = 1) -> None:
        """Run a few sequences unmeasured, now and after each later load of a model.

        A failure is ignored here, since the first configuration will show it.

        Args:
            workload: Sequences to take some from.
            num_workers: DataLoader processes to start.

        Raises:
            WorkloadError: The file of sequences cannot be read, or is not the one that the workload describes.
        """
        self._warm_up = (workload, num_workers)
        self._is_warm = False
        self._is_warm = warm_up_model(
            self._model,
            self._device,
            self._files.opened(workload),
            num_workers=num_workers,
            batch_converter=self._batch_converter,
            num_sequences=workload.num_sequences,
            sample=self._files.sample(workload),
            timeout_s=self._request.timeout_s,
        )

    def live_figures(self) -> LiveFigures:
        """Return the newest reading of the GPU while a trial runs."""
        return LiveFigures(gpu=latest_reading())

    def close(self) -> None:
        """Release the model and its device memory; nothing can be measured with it afterwards."""
        self.forecast = None
        if hasattr(self, "_model"):
            del self._model, self._batch_converter
        gc.collect()  # a model may be part of a cycle
        DeviceMemory(self._device).release_cache()

    def __enter__(self) -> MeasuredModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self, request: Request) -> None:
        from virnuc_profiler.inference.esm2.load import load_esm2_model

        self._request = request
        self._is_warm = None
        assert request.model is not None  # only other targets choose one by themselves
        self._model, self._batch_converter = load_esm2_model(
            request.model, self._device, weights=request.weights, **request.model_arguments()
        )
        limit_gb = request.device_memory_gb
        limit_bytes = None if limit_gb is None else round(limit_gb * BYTES_PER_GB)
        self.forecast = forecast_memory(self._model, self._device, limit_bytes)

    def _load_for(self, configuration: Configuration) -> bool:
        """Load another model if the configuration needs one, and return whether that was done."""
        request = self._request.for_configuration(configuration)
        if request == self._request and hasattr(self, "_model"):
            return False
        self.close()
        self._load(request)
        return True

    def _measure(
        self,
        workload: Workload,
        configuration: Configuration,
        output_dir: Path,
        on_progress: Callable[[int], None] | None,
        on_tokens: Callable[[int], None] | None,
        *,
        brief: bool,
    ) -> Result:
        predicted = self._predicted_failure(workload, configuration)
        if predicted is not None:
            _log.warning("%s was not tried: %s", configuration, predicted.message)
            return predicted
        result = measure_configuration(
            configuration,
            self._files.opened(workload),
            output_dir,
            self._model,
            self._device,
            batch_converter=self._batch_converter,
            num_sequences=workload.num_sequences,
            sample=self._files.sample(workload),
            cooldown_s=AUTO if brief else self._request.cooldown_s,
            timeout_s=self._request.timeout_s,
            on_progress=on_progress,
            on_tokens=on_tokens,
            metadata={**self._footprint(), "workload_source": workload.source},
            capture_range=self._request.capture_range,
            min_cosine=MIN_COSINE if self._request.min_cosine is None else self._request.min_cosine,
            warmed_up=bool(self._is_warm),
            precision_target=self._request.precision_target,
            trial_seconds=brief_seconds(self._request.trial_seconds) if brief else self._request.trial_seconds,
        )
        self._warn_once(result)
        return result

    def _predicted_failure(self, workload: Workload, configuration: Configuration) -> Result | None:
        if self._request.try_all or self.forecast is None:
            return None
        return self.forecast.predicted_failure(workload, configuration)

    def _footprint(self) -> dict[str, Any]:
        if self.forecast is None:
            return dict.fromkeys(field.name for field in fields(MemoryFootprint))
        return self.forecast.footprint.as_dict()

    def _warn_once(self, result: Result) -> None:
        """Warn once of sequences that were not run as they stand in the file, since it is the same in every trial."""
        if not self._warned:
            self._warned = warn_of_oddities(result)


def device_name(device: torch.device) -> str:
    """Return the product name of a device, such as ``NVIDIA H200``, or that of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{machine_description()['cpu_model'] or platform.machine()}, {cpu_limits()}"


def usable_cores() -> float:
    """Return the CPU cores that this process can use, by affinity and quota; not always whole."""
    return cpu_limits().usable_cores or 1
