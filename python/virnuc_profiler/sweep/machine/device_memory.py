# SPDX-License-Identifier: MIT
"""Device memory as PyTorch's allocator of this process counts it. 1 GB is 10⁹ bytes, as on a card's data sheet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import torch

from virnuc_profiler.errors import UsageError

BYTES_PER_GB: Final = 1e9

_log = logging.getLogger(__name__)


class DeviceMemory:
    """The memory of one device; on the CPU, and once CUDA has failed, everything is None.

    Args:
        device: where; the CPU has no such memory.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device if device.type == "cuda" else None

    def allocated_bytes(self) -> int | None:
        """Held by tensors now."""
        return self._read(torch.cuda.memory_allocated)

    def peak_bytes(self) -> int | None:
        """The most that tensors held since :meth:`reset_peak`."""
        return self._read(torch.cuda.max_memory_allocated)

    def peak_gb(self) -> float | None:
        """The same in GB."""
        peak = self.peak_bytes()
        return None if peak is None else peak / BYTES_PER_GB

    def peak_requested_bytes(self) -> int | None:
        """The most that tensors asked for since then.

        Without what the allocator rounds up, which is up to 1 MB a tensor: much of a small pack, little of a large
        one, and so no base for a projection from one to the other.
        """
        return self._read(_peak_requested)

    def available_bytes(self, limit_bytes: int | None = None) -> int | None:
        """What this process can have in all: the memory that it holds, in tensors or cached, and what is free.

        Args:
            limit_bytes: the most that it may hold, see :func:`limit_device_memory`; None for no limit.
        """
        available = self._read(lambda device: torch.cuda.memory_reserved(device) + torch.cuda.mem_get_info(device)[0])
        return available if available is None or limit_bytes is None else min(available, limit_bytes)

    def reset_peak(self) -> None:
        """Starts to look for the peak anew."""
        if self._device is not None:
            torch.cuda.reset_peak_memory_stats(self._device)

    def release_cache(self) -> None:
        """Gives memory that no tensor holds back, once running work is done: the device's, and the host's pinned."""
        if self._device is None:
            return
        try:
            with torch.cuda.device(self._device):
                torch.cuda.synchronize()
                torch.cuda.empty_cache()
                _release_pinned_cache()
        except RuntimeError as error:  # after a CUDA error nothing works any more, but clean-up must go on
            _log.warning("the memory of %s could not be released: %s", self._device, first_line(error))

    def _read(self, counter: Callable[[torch.device], int]) -> int | None:
        if self._device is None:
            return None
        try:
            return int(counter(self._device))
        except RuntimeError:
            return None


def _release_pinned_cache() -> None:
    """PyTorch's allocator of pinned memory keeps every block; no public function empties it."""
    for name in ("_host_emptyCache", "_accelerator_emptyHostCache"):  # until and from PyTorch 2.13
        if (release := getattr(torch._C, name, None)) is not None:
            release()
            return


def _peak_requested(device: torch.device) -> int:
    stats = torch.cuda.memory_stats(device)
    # cudaMallocAsync, which PyTorch can be told to use, does not count requests, and does not round either.
    return int(stats.get("requested_bytes.all.peak") or stats.get("allocated_bytes.all.peak", 0))


def limit_device_memory(device: torch.device, gigabytes: float) -> None:
    """Caps what this process may hold on `device`, so that a card can be shared, or a smaller one stood in for.

    Raises:
        UsageError: the device is the CPU, or has less memory than that.
    """
    if device.type != "cuda":
        raise UsageError(f"a limit on device memory needs a CUDA device, and this run is on {device}: leave it out")
    total = torch.cuda.get_device_properties(device).total_memory
    share = gigabytes * BYTES_PER_GB / total
    if not 0 < share <= 1:
        raise UsageError(
            f"device memory cannot be limited to {gigabytes} GB: {device} has {total / BYTES_PER_GB:.1f} GB"
        )
    torch.cuda.set_per_process_memory_fraction(share, device)


def first_line(error: BaseException) -> str:
    """An error's message up to the first line break; CUDA's go on with advice for developers."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
