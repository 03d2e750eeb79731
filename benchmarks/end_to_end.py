# SPDX-License-Identifier: MIT
"""Measure the whole pipeline as users run it: from the FASTA file to embeddings on the host, with the profiler."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import monotonic_ns
from typing import Final

import numpy as np

from benchmarks.throughput_figures import Turn
from benchmarks.throughput_workloads import Workload
from virnuc_profiler import (
    AsyncInferenceRunner,
    BatchProfiler,
    IndexBasedDataset,
    RunResult,
    VarlenCollator,
    create_async_dataloader,
)
from virnuc_profiler.analysis.diagnosis.observation import observe
from virnuc_profiler.analysis.model_cost import ModelShape
from virnuc_profiler.analysis.timing.statistics import mean
from virnuc_profiler.analysis.timing.steady_state import WARM_UP_SHARE
from virnuc_profiler.errors import DeadlineExceeded
from virnuc_profiler.inference.esm2.model import PackedESM2

MIN_BATCHES: Final = 12
"""Minimum number of batches for a meaningful steady state; 3 of them are warm-up."""

MIN_TO_WARM_UP: Final = 2

STEADY_SHARE: Final = 1 - WARM_UP_SHARE

DEADLINE_FACTOR: Final = 3
"""A run is stopped when it takes this many times as long as the forward pass alone; what it finished counts."""

SECONDS_TO_START: Final = 10
"""Maximum start-up time of the workers, including that of the forkserver."""

LOADER_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The four knobs of the pipeline that a sweep tunes."""

    num_workers: int
    prefetch_factor: int
    token_budget: int
    buffer_size: int

    def __str__(self) -> str:
        return (
            f"{self.num_workers} workers, prefetch {self.prefetch_factor}, "
            f"budget {self.token_budget:,}, buffer {self.buffer_size:,}"
        )


class EndToEnd:
    """Run the pipeline over as many sequences as the forward pass alone would process in the time of a turn.

    Args:
        model: The model, already on its device.
        workload: Workload that provides the FASTA file.
        settings: Settings of the pipeline.
        tokens_per_s: Rate of the forward pass alone, which decides how many sequences are run.
    """

    def __init__(self, model: PackedESM2, workload: Workload, settings: Settings, tokens_per_s: float) -> None:
        self._model = model
        self._workload = workload
        self._settings = settings
        self._tokens_per_s = tokens_per_s

    def turn(self, seconds: float, warm_up_s: float) -> Turn:
        """Run once, with a steady state of about this duration, after a short run that is discarded.

        Raises:
            RuntimeError: The run was too short to have a steady state, or some of it was not recorded.
        """
        count = self._sequences(seconds / STEADY_SHARE, MIN_BATCHES)
        self._workload.fasta(count)  # may take seconds to write, in which the card would cool down after the warm-up
        self._run(self._sequences(warm_up_s, MIN_TO_WARM_UP))
        return self._turn_of(self._run(count))

    def _sequences(self, seconds: float, min_batches: int) -> int:
        tokens = max(seconds * self._tokens_per_s, min_batches * self._settings.token_budget)
        return math.ceil(tokens / self._workload.tokens_per_sequence)

    def _run(self, count: int) -> RunResult:
        dataset = IndexBasedDataset(self._workload.fasta(count), np.arange(count))
        collator = VarlenCollator(buffer_size=self._settings.buffer_size)
        forward_s = count * self._workload.tokens_per_sequence / self._tokens_per_s
        with BatchProfiler(device=self._model.device) as profiler:
            loader = create_async_dataloader(
                dataset,
                collator,
                num_workers=self._settings.num_workers,
                prefetch_factor=self._settings.prefetch_factor,
                pin_memory=self._model.device.type == "cuda",
                token_budget=self._settings.token_budget,
                timeout_s=LOADER_TIMEOUT_S if self._settings.num_workers else 0.0,
            )
            deadline_ns = monotonic_ns() + round((DEADLINE_FACTOR * forward_s + SECONDS_TO_START) * 1e9)
            done = 0
            with (
                loader,
                AsyncInferenceRunner(
                    self._model, self._model.device, profiler=profiler, deadline_ns=deadline_ns
                ) as runner,
            ):
                try:
                    for result in runner.run(loader):
                        done += len(result.positions)
                except DeadlineExceeded:
                    count = done
                # Before the workers are ended: that is not part of the run.
                run = profiler.stop()
        if done != count or run.total_sequences != count:
            raise RuntimeError(f"{count} sequences went in, {done} came out, {run.total_sequences} were recorded")
        return run

    def _turn_of(self, run: RunResult) -> Turn:
        observation = observe(run, ModelShape(self._model.num_layers, self._model.hidden_size))
        steady = observation.after_warm_up
        if steady.window is None or steady.tokens_per_sec is None:
            raise RuntimeError(f"{len(run.batches)} batches are too few for a steady state")
        seconds = (steady.window[1] - steady.window[0]) / 1e9
        low, high = observation.window
        readings = [reading for reading in (run.gpu.fast if run.gpu else ()) if low < reading.at_ns <= high]
        power_mw = mean(reading.power_mw for reading in readings)
        return Turn(
            seconds=seconds,
            tokens=round(steady.tokens_per_sec * seconds),
            flops=observation.flops or 0,
            sm_clock_mhz=mean(reading.sm_clock_mhz for reading in readings),
            power_w=None if power_mw is None else power_mw / 1e3,
            stage_share=None if run.device.dropped_batches else observation.stage_share,  # they would count as idle
            whole_run_tokens_per_s=(run.total_tokens or 0) / run.elapsed_s,
        )
