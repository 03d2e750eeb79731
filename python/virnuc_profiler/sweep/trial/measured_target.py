# SPDX-License-Identifier: MIT
"""A target in this process, ready to be measured: the counterpart of a measured model for programs of others."""

from __future__ import annotations

import gc
import logging
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from virnuc_profiler.capture.sampling.live_reading import latest_reading
from virnuc_profiler.capture.start_up.preparation import preparing
from virnuc_profiler.sweep.kernels.kernel_pass import loop_of, save_kernels
from virnuc_profiler.sweep.machine.device_memory import BYTES_PER_GB, DeviceMemory, limit_device_memory
from virnuc_profiler.sweep.machine.leftover_processes import without_leftovers
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.cooldown import AUTO
from virnuc_profiler.sweep.plan.request import Request
from virnuc_profiler.sweep.plan.trial_length import brief_seconds
from virnuc_profiler.sweep.plan.workload import MAX_SEQUENCE_LENGTH, Workload
from virnuc_profiler.sweep.plan.workload_files import WorkloadFiles
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.trial.failure import release_traceback
from virnuc_profiler.sweep.trial.loaded_model import LiveFigures, with_model, with_output
from virnuc_profiler.sweep.trial.measured_model import device_name
from virnuc_profiler.sweep.trial.memory_forecast import MemoryForecast, forecast_target
from virnuc_profiler.sweep.trial.outcome import failed_load, warn_of_oddities
from virnuc_profiler.sweep.trial.provenance import conditions_of, software_versions, workload_description
from virnuc_profiler.sweep.trial.trial_run import TrialOptions, TrialSubject, run_trial
from virnuc_profiler.targets.containment.captured_output import TARGET_OUTPUT, captured_output, output_path
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.targets.loaded_target import LoadedTarget
from virnuc_profiler.targets.pace import Pace
from virnuc_profiler.targets.workload_copies import WorkloadCopies
from virnuc_profiler.telemetry.number_text import counted
from virnuc_profiler.telemetry.parts.start_up_records import WARMING_UP

if TYPE_CHECKING:
    from virnuc_profiler.inference.sequences.fasta import FastaFile
    from virnuc_profiler.targets.target_workload import TargetWorkload

_WARM_UP_SEQUENCES: Final = {"cuda": 64, "cpu": 4}
"""Number of sequences of a warm-up by type of device."""

_MUCH_LONGER: Final = 2
"""Factor by which a run must be too short to be repeated with more passes."""

_log = logging.getLogger(__name__)


class MeasuredTarget:
    """A target with which configurations are measured.

    A configuration that names other values of knobs of the part ``model`` has the target made again.

    Args:
        request: What is asked for.
        fasta: Open file of the workload; None to open it before the first run.
        target: The target, if it was made already; it is closed with this object.
        keep_output: Whether what the target prints goes into a file beside the telemetry. A process whose output
            something else keeps needs none.

    Attributes:
        forecast: Forecast of the memory that batches take, measured by the target's ``probe``; None without one, on the
            CPU, or if that failed.
        knobs: The knobs of the target.

    Raises:
        UsageError: There is no such target, its package is missing, or it does not keep the contract.
        ModelError: The target could not be made.
    """

    def __init__(
        self,
        request: Request,
        fasta: FastaFile | None = None,
        *,
        target: LoadedTarget | None = None,
        keep_output: bool = True,
    ) -> None:
        self._device = torch.device(str(request.device))
        if request.device_memory_gb is not None:
            limit_device_memory(self._device, request.device_memory_gb)
        self._files = WorkloadFiles(fasta)
        self._copies = WorkloadCopies()
        self._pace = Pace(request.timeout_s)
        self._keeps_output = keep_output
        self._warm_up: Workload | None = None
        self._warned = False
        self._is_warm: bool | None = None  # None: no warm-up was tried since the target was made
        self.forecast: MemoryForecast | None = None
        self._load(request, target)

    @property
    def description(self) -> dict[str, Any]:
        """The target and its model as result files name them."""
        return self._target.description

    @property
    def device_name(self) -> str:
        """The product name of the device."""
        return device_name(self._device)

    @property
    def largest_budget(self) -> int | None:
        """The most tokens of a batch that are forecast to fit; None where nothing is forecast."""
        return None if self.forecast is None else self.forecast.largest_budget()

    def held_device_bytes(self) -> int | None:
        """Return the device memory that tensors of this process hold; None on the CPU, and once CUDA has failed."""
        return DeviceMemory(self._device).allocated_bytes()

    def conditions(self) -> Conditions:
        """Return the conditions of results with this target on this machine."""
        varied = {key for name in self._request.varied for key in (name, *self.knobs[name].model_keys)}
        about = {key: value for key, value in self._target.about.items() if key not in varied}
        model = {**self.description, "target": about, **self._footprint()}
        return conditions_of(self._request, model, self.device_name, self._versions(), self.knobs)

    @preparing(WARMING_UP)
    def warm_up(self, workload: Workload, num_workers: int = 1) -> None:
        """Run a few sequences unmeasured, now and whenever the target is made again.

        A failure is ignored here, since the first configuration will show it.

        Args:
            workload: Sequences to take some from.
            num_workers: Not used: a target starts the workers of its configuration.

        Raises:
            WorkloadError: The file of sequences cannot be read, or is not the one that the workload describes.
        """
        del num_workers
        self._warm_up = workload
        self._is_warm = False
        own = {name: value for name, value in self._request.model_knobs.items() if name in self.knobs}
        configuration = self.knobs.baseline.replace(**own)
        few = self._copy(workload, 1, _WARM_UP_SEQUENCES[self._device.type])
        with tempfile.TemporaryDirectory(prefix="virnuc_profiler_") as folder:
            try:
                with self._output_in(Path(folder) / TARGET_OUTPUT):
                    self._is_warm = self._target.warm_up(few, configuration)
            except Exception as error:
                _log.debug("the warm-up of %s failed", self._target.name, exc_info=error)
                release_traceback(error)
                return
            if not self._is_warm:
                options = TrialOptions(
                    cooldown_s=0.0,
                    timeout_s=self._request.timeout_s,
                    failure_log_level=logging.DEBUG,
                    remembers_leaks=False,
                )
                result = self._run_copy(few, workload, configuration, Path(folder), options)
                self._is_warm = result.succeeded
                self._pace.guess(result.tokens_per_sec)

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

        A target reads its sequences by itself, so the number of passes is chosen before the run, by the pace of runs
        before. A run that was much too short is repeated with more passes.

        Args:
            workload: Sequences to run.
            configuration: Value of each knob.
            output_dir: Folder of the telemetry file, the run and the output of the target.
            on_progress: Called with the number of sequences that are done, after each batch.
            on_tokens: Called with the number of their tokens, estimated from the mean length.
            brief: Whether the sequences are repeated only briefly, and the pause is only as long as the clean-up needs.

        Returns:
            The result; a target that cannot be made is a failure of its configurations.

        Raises:
            WorkloadError: The file of sequences cannot be read, or is not the one that the workload describes.
        """
        try:
            made_again = self._load_for(configuration)
        except Exception as error:
            failed = failed_load(error, configuration, "its target could not be made")
            return with_model(failed, self._request.describe_model(), True)
        if self._is_warm is None and self._warm_up is not None:
            self.warm_up(self._warm_up)
        result = self._predicted_failure(workload, configuration)
        if result is not None:
            _log.warning("%s was not tried: %s", configuration, result.message)
        else:
            options = TrialOptions(
                cooldown_s=AUTO if brief else self._request.cooldown_s,
                timeout_s=self._request.timeout_s,
                on_progress=on_progress,
                on_tokens=on_tokens,
                metadata={**self._footprint(), "workload_source": workload.source},
                capture_range=self._request.capture_range,
                warmed_up=bool(self._is_warm),
            )
            seconds = brief_seconds(self._request.trial_seconds) if brief else self._request.trial_seconds
            result = self._measure(workload, configuration, output_dir, options, seconds)
        return with_model(result, {**self.description, **self._footprint()}, made_again)

    def add_kernels(self, workload: Workload, configuration: Configuration, run_path: Path, num_batches: int) -> None:
        """Run some batches of a measured run again under CUPTI, and save the kernels with that run.

        What the target prints meanwhile is dropped.

        Args:
            workload: Sequences of the run.
            configuration: Value of each knob.
            run_path: The saved run.
            num_batches: Number of batches to capture.

        Raises:
            LibraryUnavailable: There is no GPU, or CUPTI recorded nothing.
            ValueError: The run has too few batches.
        """
        self._load_for(configuration)
        passes = self._pace.passes(configuration, workload.tokens, self._request.trial_seconds)
        source = self._target.source(self._copy(workload, passes), configuration)
        with (
            without_leftovers(self._target.name),
            tempfile.TemporaryDirectory(prefix="virnuc_profiler_") as folder,
            self._output_in(Path(folder) / TARGET_OUTPUT),
        ):
            save_kernels(run_path, loop_of(source), num_batches=num_batches, device=self._device)

    def predicted_failure(self, workload: Workload, configuration: Configuration) -> Result | None:
        """Return the result of a configuration that cannot fit the device; None if it may fit.

        Args:
            workload: Sequences that would be run.
            configuration: Value of each knob.
        """
        self._load_for(configuration)
        return self._predicted_failure(workload, configuration)

    def live_figures(self) -> LiveFigures:
        """Return the newest reading of the GPU while a trial runs."""
        return LiveFigures(gpu=latest_reading())

    def close(self) -> None:
        """Close the target, and remove the files of its workloads; nothing can be measured afterwards."""
        self._unload()
        self._copies.close()

    def __enter__(self) -> MeasuredTarget:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self, request: Request, target: LoadedTarget | None = None) -> None:
        self._request = request
        self._is_warm = None
        limit_gb = request.device_memory_gb
        limit_bytes = None if limit_gb is None else round(limit_gb * BYTES_PER_GB)
        with self._output_in(request.output_dir / TARGET_OUTPUT):
            self._target = target or LoadedTarget.make(request.target, request.target_options())
            self.knobs, probe = self._target.knobs, self._target.probe
            self.forecast = None if probe is None else forecast_target(probe, self._device, limit_bytes)

    def _unload(self) -> None:
        self.forecast = None
        if hasattr(self, "_target"):
            self._target.close()
            del self._target
        gc.collect()  # a model may be part of a cycle
        DeviceMemory(self._device).release_cache()

    def _load_for(self, configuration: Configuration) -> bool:
        """Make the target again if the configuration needs that, and return whether that was done."""
        request = self._request.for_configuration(configuration)
        if request == self._request and hasattr(self, "_target"):
            return False
        self._unload()
        self._load(request)
        return True

    def _measure(
        self,
        workload: Workload,
        configuration: Configuration,
        output_dir: Path,
        options: TrialOptions,
        seconds: float | None,
    ) -> Result:
        """Run as many passes as last the seconds of a trial.

        A run that was planned by the pace of a much slower configuration, or of a much faster one, so that its time was
        up, finds out how many, and a second one has them.
        """
        passes = self._pace.passes(configuration, workload.tokens, seconds)
        result = self._run(workload, passes, configuration, output_dir, options)
        if result.succeeded:
            self._pace.measure(configuration, _tokens_per_s(result, workload), result.start_up_sec)
        elif (done := _passes_in_time(result, workload)) >= 1 and options.timeout_s is not None:
            self._pace.measure_broken_off(configuration, done * workload.tokens / options.timeout_s)
        else:
            return result
        wanted = self._pace.passes(configuration, workload.tokens, seconds)
        if result.succeeded and wanted < _MUCH_LONGER * passes:
            return result
        level = logging.DEBUG if result.succeeded else logging.WARNING
        again = counted(wanted, "pass", "passes")
        _log.log(level, "%s is run again: %s over its sequences, where it was given %d", configuration, again, passes)
        return self._run(workload, wanted, configuration, output_dir, options)

    def _run(
        self, workload: Workload, passes: int, configuration: Configuration, output_dir: Path, options: TrialOptions
    ) -> Result:
        copy = self._copy(workload, passes)
        result = self._run_copy(copy, workload, configuration, output_dir, options)
        self._warned = self._warned or warn_of_oddities(result, copy.num_tokens)
        return with_output(result, output_path(output_dir, configuration.run_id)) if self._keeps_output else result

    def _run_copy(
        self,
        copy: TargetWorkload,
        workload: Workload,
        configuration: Configuration,
        output_dir: Path,
        options: TrialOptions,
    ) -> Result:
        fasta = self._files.opened(workload)
        fasta.require_unchanged()
        positions = self._positions(workload)[: copy.num_sequences // copy.passes]
        subject = TrialSubject(
            owner=self._target.target,
            device=self._device,
            configuration=configuration,
            workload=workload_description(fasta, fasta.fingerprint, positions, self._files.sample(workload)),
            description=self.description,
            versions=self._versions(),
            shape=self._target.shape,
        )
        output = output_path(output_dir, configuration.run_id)
        with without_leftovers(self._target.name), self._output_in(output):
            return run_trial(self._target.source(copy, configuration), subject, output_dir, options)

    def _copy(self, workload: Workload, passes: int, most: int | None = None) -> TargetWorkload:
        positions = self._positions(workload)[:most]
        return self._copies.of(
            (workload, len(positions)), self._files.opened(workload), positions, passes, MAX_SEQUENCE_LENGTH
        )

    def _positions(self, workload: Workload) -> NDArray[np.int64]:
        sample = self._files.sample(workload)
        return np.arange(workload.num_sequences) if sample is None else sample.positions

    def _predicted_failure(self, workload: Workload, configuration: Configuration) -> Result | None:
        if self._request.try_all or self.forecast is None:
            return None
        return self.forecast.predicted_failure(workload, configuration)

    def _footprint(self) -> dict[str, Any]:
        return {} if self.forecast is None else self.forecast.footprint.as_dict()

    def _versions(self) -> dict[str, str | None]:
        return {**software_versions(), **self._target.versions}

    def _output_in(self, path: Path) -> AbstractContextManager[None]:
        return captured_output(path) if self._keeps_output else nullcontext()


def _passes_in_time(result: Result, workload: Workload) -> float:
    """Return how many passes a run had done when its time was up; 0 for any other failure."""
    if result.reason != "timeout":
        return 0.0
    done: int = (result.evidence or {}).get("sequences_done") or 0
    return done / workload.num_sequences


def _tokens_per_s(result: Result, workload: Workload) -> float | None:
    """Return the tokens per second after start-up; with start-up if the run had a single batch."""
    if result.rough_sequences_per_sec is None:
        return result.tokens_per_sec
    return result.rough_sequences_per_sec * workload.tokens / workload.num_sequences
