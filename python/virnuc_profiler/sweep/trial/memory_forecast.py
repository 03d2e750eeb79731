# SPDX-License-Identifier: MIT
"""Which configurations cannot fit the device, told before they are tried."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch

from virnuc_profiler.analysis.memory_footprint import (
    MemoryFootprint,
    PackPeak,
    fit_footprint,
    largest_fitting_budget,
    largest_pack_tokens,
    max_tokens_in_buffer,
    min_largest_pack_tokens,
    predict_peak_bytes,
    surely_too_large,
)
from virnuc_profiler.inference.argument_checks import MAX_INT32
from virnuc_profiler.inference.batches import PackedBatch
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.runner import AsyncInferenceRunner
from virnuc_profiler.sweep.machine.device_memory import BYTES_PER_GB, DeviceMemory
from virnuc_profiler.sweep.plan.configuration import KNOBS, Configuration
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.results.result import FAILED, Result
from virnuc_profiler.sweep.trial.failure import OOM, release_traceback

_BYTES_PER_MB = 1e6


@dataclass(frozen=True, slots=True)
class MemoryForecast:
    """A model's footprint, and the memory that there is for it.

    Attributes:
        footprint: measured.
        available_bytes: gives the memory that this process can have now; None if that cannot be told.
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
        budget = configuration.token_budget
        buffered = max_tokens_in_buffer(configuration.buffer_size, workload.num_sequences, workload.tokens)
        least = min_largest_pack_tokens(budget, buffered, workload.longest_tokens)
        if available is None or not surely_too_large(predict_peak_bytes(self.footprint, least), available):
            return None
        tokens = largest_pack_tokens(budget, buffered)
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

    def __str__(self) -> str:
        available = self.available_bytes()
        return f"{self._need()}{'' if available is None else f'; {self._room(available)}'}"

    def _need(self) -> str:
        footprint = self.footprint
        per_token = footprint.bytes_per_token / _BYTES_PER_MB
        return f"{footprint.fixed_bytes / BYTES_PER_GB:.2f} GB + {per_token:.2g} MB a token"

    def _room(self, available: int) -> str:
        budget = _rounded_down(largest_fitting_budget(self.footprint, available))
        return f"budgets up to about {budget:,} tokens fit" if _exists(budget) else "no token budget fits"

    def _message(self, tokens: int, predicted: int, available: int) -> str:
        budget = _rounded_down(largest_fitting_budget(self.footprint, available))
        largest = f"the largest budget that should fit is about {budget:,}" if _exists(budget) else "no budget fits"
        return (
            f"predicted to need {predicted / BYTES_PER_GB:.2f} GB of device memory for packs of {tokens:,} tokens "
            f"({self._need()}), of {available / BYTES_PER_GB:.2f} GB that this process can have: "
            f"--try-all runs it anyway; {largest}"
        )


def forecast_memory(model: Any, device: torch.device, limit_bytes: int | None = None) -> MemoryForecast | None:
    """Measures the footprint of `model`; None if there is none to be had, as on the CPU.

    Args:
        model: as :func:`load_esm2_model` returns it.
        device: where it is.
        limit_bytes: the most that this process may hold; None if only the device sets a limit.
    """
    footprint = measure_footprint(model, device)
    if footprint is None:
        return None
    return MemoryForecast(footprint, lambda: DeviceMemory(device).available_bytes(limit_bytes))


def _exists(token_budget: int) -> bool:
    return KNOBS["token_budget"].accepts(token_budget)


def _rounded_down(token_budget: int) -> int:
    """To two digits, and to what a budget can be: no more is known."""
    budget = min(token_budget, MAX_INT32)
    unit = 10 ** max(0, len(str(budget)) - 2)
    return int(budget // unit * unit)


LENGTHS: Final = (64, 80, 100, 120, 150, 180, 224, 280, 350, 500)
"""Tokens of the sequences in a pack, BOS and EOS included: 2,048 together, spread like those of viral proteins."""

REPEATS: Final = (1, 2, 4, 8)
"""Packs of 2,048 to 16,384 tokens. The last two that fit make the line: the work spaces of a matrix product, which do
not grow, can hide a small model's activations in the smaller ones."""

_PACKS_IN_A_ROW: Final = 3
"""So many that one is launched while the one before it is in flight, as in a run."""

_log = logging.getLogger(__name__)


class PeakReader(Protocol):
    """What is asked of :class:`DeviceMemory`."""

    def reset_peak(self) -> None:
        """Starts to look for the peak anew."""

    def peak_requested_bytes(self) -> int | None:
        """The most that tensors asked for since then."""

    def release_cache(self) -> None:
        """Gives memory that no tensor holds back to the device."""


def measure_footprint(model: Any, device: torch.device) -> MemoryFootprint | None:
    """Runs a few small packs through `model` as a run would; None on the CPU, or if two of them do not fit.

    None too where the GPU has no memory of its own: what such a device calls free leaves out what the host could
    give up for it, so nothing can be said to be too large. Costs 90,000 tokens of inference.
    """
    if device.type != "cuda" or torch.cuda.get_device_properties(device).is_integrated:
        return None

    def run_packs(repeats: int) -> None:
        with AsyncInferenceRunner(model, device, min_cosine=None) as runner:
            for _ in runner.run([typical_pack(repeats)] * _PACKS_IN_A_ROW):
                pass

    return footprint_of(run_packs, DeviceMemory(device))


def footprint_of(run_packs: Callable[[int], None], memory: PeakReader) -> MemoryFootprint | None:
    """The footprint of what `run_packs` does with packs of that many times :data:`LENGTHS`; None if too few fit."""
    peaks: list[PackPeak] = []
    for repeats in REPEATS:
        peak_bytes = _peak_bytes(run_packs, repeats, memory)
        memory.release_cache()
        if peak_bytes is None:
            break
        peaks.append(PackPeak(repeats * sum(LENGTHS), peak_bytes))
    return fit_footprint(*peaks[-2:]) if len(peaks) > 1 else None


def typical_pack(repeats: int) -> PackedBatch:
    """One pack with that many times :data:`LENGTHS`; its residues are of no account."""
    tokens = repeats * sum(LENGTHS)
    collator = VarlenCollator(max_tokens_per_batch=tokens)
    collator([(str(length), "A" * (length - 2)) for length in LENGTHS * repeats])
    (pack,) = collator.flush()
    return pack


def _peak_bytes(run_packs: Callable[[int], None], repeats: int, memory: PeakReader) -> int | None:
    try:
        memory.reset_peak()
        run_packs(repeats)
    except Exception as error:  # none of ours yet: whatever is wrong, the first configuration will show it
        _log.debug("the memory of %d tokens was not measured", repeats * sum(LENGTHS), exc_info=error)
        release_traceback(error)
        return None
    return memory.peak_requested_bytes()
