# SPDX-License-Identifier: MIT
"""Measures on the device how much memory packs take, before any configuration is tried."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

import torch

from virnuc_profiler.analysis.memory_footprint import MemoryFootprint, PackPeak, fit_footprint
from virnuc_profiler.inference.batches import PackedBatch
from virnuc_profiler.inference.collator import VarlenCollator
from virnuc_profiler.inference.runner import AsyncInferenceRunner
from virnuc_profiler.sweep.device_memory import DeviceMemory
from virnuc_profiler.sweep.failure import bury

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
        with AsyncInferenceRunner(model, device, least_cosine=None) as runner:
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
        bury(error)
        return None
    return memory.peak_requested_bytes()
