# SPDX-License-Identifier: MIT
"""Forecast which configurations do not fit into device memory, without running them.

A few small packs, measured once, give the model's memory footprint: a fixed part and a part for each token.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch

from virnuc_profiler.analysis.memory_footprint import (
    MemoryFootprint,
    PackPeak,
    exceeds_memory,
    fit_footprint,
    largest_fitting_budget,
    predict_peak_bytes,
)
from virnuc_profiler.inference.argument_checks import MAX_INT32
from virnuc_profiler.inference.batches import PackedBatch
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.runner import AsyncInferenceRunner
from virnuc_profiler.sweep.machine.device_memory import BYTES_PER_GB, DeviceMemory
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.results.result import FAILED, OOM, Result
from virnuc_profiler.sweep.trial.failure import release_traceback
from virnuc_profiler.targets.batch_bounds import batch_bounds
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, Configuration
from virnuc_profiler.telemetry.number_text import number

LENGTHS: Final = (64, 80, 100, 120, 150, 180, 224, 280, 350, 500)
"""Tokens per sequence in a pack, including BOS and EOS: 2,048 in total, distributed like those of viral proteins."""

REPEATS: Final = (1, 2, 4, 8)
"""Sizes of the measured packs, 2,048 to 16,384 tokens. The footprint uses the two largest that fit: in smaller packs,
matmul workspaces of constant size can hide the activations of a small model."""

_CONSECUTIVE_PACKS: Final = 3
"""Packs per measurement; enough that one is launched while another is in flight, as in a run."""

_BYTES_PER_MB: Final = 1e6

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MemoryForecast:
    """A model's memory footprint and the memory available for it.

    Attributes:
        footprint: Measured footprint of the model.
        available_bytes: Function that returns the bytes that this process can hold now, or None if that is unknown.
    """

    footprint: MemoryFootprint
    available_bytes: Callable[[], int | None]

    def predicted_failure(self, workload: Workload, configuration: Configuration) -> Result | None:
        """Return the result of a configuration that cannot fit; None if it may fit, or nothing is known.

        The result is that of a run out of device memory, with `predicted`, `predicted_peak_memory_gb` and
        `available_memory_gb`; what only a run can measure is None.

        Args:
            workload: Workload that would be run.
            configuration: Configuration to judge.
        """
        available = self.available_bytes()
        bounds = batch_bounds(configuration, workload.num_sequences, workload.tokens, workload.longest_tokens)
        if available is None or bounds is None:
            return None
        least, tokens = bounds
        if not exceeds_memory(predict_peak_bytes(self.footprint, least), available):
            return None
        predicted = predict_peak_bytes(self.footprint, tokens)
        return Result(
            status=FAILED,
            configuration=configuration,
            reason=OOM,
            outcome=OOM,
            evidence={"predicted_peak_bytes": round(predicted), "available_bytes": round(available)},
            message=self._message(tokens, predicted, available),
            memory="device",
            predicted=True,
            predicted_peak_memory_gb=predicted / BYTES_PER_GB,
            available_memory_gb=available / BYTES_PER_GB,
        )

    def largest_budget(self) -> int | None:
        """Return the largest token budget that fits and leaves a tenth of the memory free; None if that is unknown."""
        available = self.available_bytes()
        return None if available is None else _rounded_down(largest_fitting_budget(self.footprint, available))

    def __str__(self) -> str:
        available = self.available_bytes()
        return f"{self._demand()}{'' if available is None else f'; {self._fitting_budgets(available)}'}"

    def _demand(self) -> str:
        footprint = self.footprint
        per_token = footprint.bytes_per_token / _BYTES_PER_MB
        return f"{footprint.fixed_bytes / BYTES_PER_GB:.2f} GB + {per_token:.2g} MB a token"

    def _fitting_budgets(self, available: int) -> str:
        budget = _rounded_down(largest_fitting_budget(self.footprint, available))
        return f"budgets up to about {budget:,} tokens fit" if _exists(budget) else "no token budget fits"

    def _message(self, tokens: int, predicted: int, available: int) -> str:
        budget = _rounded_down(largest_fitting_budget(self.footprint, available))
        largest = f"the largest budget that should fit is about {budget:,}" if _exists(budget) else "no budget fits"
        available_gb = available / BYTES_PER_GB
        needed = number(predicted / BYTES_PER_GB, 2, " GB", beside=available_gb)
        return (
            f"predicted to need {needed} of device memory for packs of {tokens:,} tokens "
            f"({self._demand()}), but this process can only use {number(available_gb, 2, ' GB')}: "
            f"--try-all runs it anyway; {largest}"
        )


def forecast_memory(model: Any, device: torch.device, limit_bytes: int | None = None) -> MemoryForecast | None:
    """Measure the footprint of a model and build its forecast; None if it cannot be measured, as on the CPU.

    Args:
        model: Model, as :func:`load_esm2_model` returns it.
        device: Device of the model.
        limit_bytes: Most bytes that this process may hold. None if only the device sets a limit.
    """
    footprint = measure_footprint(model, device)
    if footprint is None:
        return None
    return MemoryForecast(footprint, lambda: DeviceMemory(device).available_bytes(limit_bytes))


def forecast_target(
    probe: Callable[[int], None], device: torch.device, limit_bytes: int | None = None
) -> MemoryForecast | None:
    """Measure the footprint of a target and build its forecast; None if it cannot be measured, as on the CPU.

    Args:
        probe: Function that runs one batch of about that many tokens.
        device: Device of the target.
        limit_bytes: Most bytes that this process may hold. None if only the device sets a limit.
    """
    if not _reports_memory(device):
        return None
    footprint = footprint_from_runs(lambda repeats: probe(repeats * sum(LENGTHS)), DeviceMemory(device))
    if footprint is None:
        return None
    return MemoryForecast(footprint, lambda: DeviceMemory(device).available_bytes(limit_bytes))


def _exists(token_budget: int) -> bool:
    return BUILTIN_KNOBS["token_budget"].accepts(token_budget)


def _rounded_down(token_budget: int) -> int:
    """Round down to two significant digits, the precision of a forecast, and limit to the range of budgets."""
    budget = min(token_budget, MAX_INT32)
    unit = 10 ** max(0, len(str(budget)) - 2)
    return int(budget // unit * unit)


class PeakReader(Protocol):
    """The part of :class:`DeviceMemory` that a measurement of the footprint uses."""

    def reset_peak(self) -> None:
        """Reset the peak to the current value."""

    def peak_requested_bytes(self) -> int | None:
        """Return the largest number of bytes that tensors have requested since :meth:`reset_peak`."""

    def release_cache(self) -> None:
        """Free device memory that no tensor holds."""


def measure_footprint(model: Any, device: torch.device) -> MemoryFootprint | None:
    """Measure the footprint with a few small packs, about 90,000 tokens of inference.

    Args:
        model: Model to run.
        device: Device of the model.

    Returns:
        The footprint. None on the CPU, if fewer than two sizes of packs fit, and on an integrated GPU: the free memory
        that such a GPU reports leaves out what the host could free, so no configuration is known to be too large.
    """
    if not _reports_memory(device):
        return None

    def run_packs(repeats: int) -> None:
        with AsyncInferenceRunner(model, device, min_cosine=None) as runner:
            for _ in runner.run([typical_pack(repeats)] * _CONSECUTIVE_PACKS):
                pass

    return footprint_from_runs(run_packs, DeviceMemory(device))


def _reports_memory(device: torch.device) -> bool:
    """Return whether the free memory that a device reports is all that there is."""
    return device.type == "cuda" and not torch.cuda.get_device_properties(device).is_integrated


def footprint_from_runs(run_packs: Callable[[int], None], memory: PeakReader) -> MemoryFootprint | None:
    """Fit the footprint to the peaks of the two largest packs that fit; None if fewer than two fit.

    Args:
        run_packs: Function that runs packs of that many times :data:`LENGTHS`.
        memory: Reader of the peaks.
    """
    peaks: list[PackPeak] = []
    for repeats in REPEATS:
        peak_bytes = _peak_bytes(run_packs, repeats, memory)
        memory.release_cache()
        if peak_bytes is None:
            break
        peaks.append(PackPeak(repeats * sum(LENGTHS), peak_bytes))
    return fit_footprint(*peaks[-2:]) if len(peaks) > 1 else None


def typical_pack(repeats: int) -> PackedBatch:
    """Build one pack of `repeats` times :data:`LENGTHS`. Its residues do not matter."""
    tokens = repeats * sum(LENGTHS)
    collator = VarlenCollator(max_tokens_per_batch=tokens)
    collator([(str(length), "A" * (length - 2)) for length in LENGTHS * repeats])
    (pack,) = collator.flush()
    return pack


def _peak_bytes(run_packs: Callable[[int], None], repeats: int, memory: PeakReader) -> int | None:
    try:
        memory.reset_peak()
        run_packs(repeats)
    except Exception as error:  # not reported here; the first configuration will show the same error
        _log.debug("the peak memory of %d tokens was not measured", repeats * sum(LENGTHS), exc_info=error)
        release_traceback(error)
        return None
    return memory.peak_requested_bytes()
