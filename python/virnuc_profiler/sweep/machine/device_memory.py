# SPDX-License-Identifier: MIT
"""Read and limit device memory as PyTorch's allocator in this process counts it. 1 GB is 10⁹ bytes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import torch

from virnuc_profiler.errors import UsageError, first_line

BYTES_PER_GB: Final = 1e9

_log = logging.getLogger(__name__)


class DeviceMemory:
    """Memory of one device. On the CPU, and after a CUDA error, every reading is None.

    Args:
        device: Device to read. The CPU has no device memory.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device if device.type == "cuda" else None

    def allocated_bytes(self) -> int | None:
        """Return the bytes that tensors hold now."""
        return self._read(torch.cuda.memory_allocated)

    def peak_bytes(self) -> int | None:
        """Return the largest number of bytes that tensors have held since :meth:`reset_peak`."""
        return self._read(torch.cuda.max_memory_allocated)

    def peak_gb(self) -> float | None:
        """Return :meth:`peak_bytes` in GB."""
        peak = self.peak_bytes()
        return None if peak is None else peak / BYTES_PER_GB

    def peak_requested_bytes(self) -> int | None:
        """Return the largest number of bytes that tensors have requested since :meth:`reset_peak`.

        The allocator rounds each tensor up by as much as 1 MB. That is a large share of a small pack and a small share
        of a large one, so a projection from one to the other must leave it out.
        """
        return self._read(_peak_requested)

    def available_bytes(self, limit_bytes: int | None = None) -> int | None:
        """Return the bytes that this process can hold in total: its tensors, its allocator's cache, and free memory.

        Args:
            limit_bytes: Most bytes that this process may hold, as :func:`limit_device_memory` sets it. None for no
                limit.
        """
        available = self._read(lambda device: torch.cuda.memory_reserved(device) + torch.cuda.mem_get_info(device)[0])
        return available if available is None or limit_bytes is None else min(available, limit_bytes)

    def reset_peak(self) -> None:
        """Reset the peak to the current value."""
        if self._device is not None:
            torch.cuda.reset_peak_memory_stats(self._device)

    def release_cache(self) -> None:
        """Wait for the device, then free memory that no tensor holds: device memory and pinned host memory."""
        if self._device is None:
            return
        try:
            with torch.cuda.device(self._device):
                torch.cuda.synchronize()
                torch.cuda.empty_cache()
                _release_pinned_cache()
        except RuntimeError as error:  # after a CUDA error every call fails, but clean-up must continue
            _log.warning("the cached memory of %s could not be released: %s", self._device, first_line(error))

    def _read(self, counter: Callable[[torch.device], int | None]) -> int | None:
        if self._device is None:
            return None
        try:
            found = counter(self._device)
        except RuntimeError:
            return None
        return None if found is None else int(found)


def _release_pinned_cache() -> None:
    """Empty PyTorch's cache of pinned memory, which keeps every block and has no public function for this."""
    for name in ("_host_emptyCache", "_accelerator_emptyHostCache"):  # before and since PyTorch 2.13
        if (release := getattr(torch._C, name, None)) is not None:
            release()
            return


def _peak_requested(device: torch.device) -> int | None:
    stats = torch.cuda.memory_stats(device)
    # The cudaMallocAsync backend of PyTorch does not count requests, and does not round allocations either.
    return stats.get("requested_bytes.all.peak") or stats.get("allocated_bytes.all.peak")


def limit_device_memory(device: torch.device, gigabytes: float) -> None:
    """Limit the device memory of this process, to share a GPU or to imitate a smaller one.

    Args:
        device: CUDA device to limit.
        gigabytes: Most memory that this process may hold, in units of 10⁹ bytes.

    Raises:
        UsageError: The device is the CPU, or the limit is not between 0 and the memory of the device.
    """
    if device.type != "cuda":
        raise UsageError(f"a limit on device memory needs a CUDA device, and this run is on {device}: omit the limit")
    total = torch.cuda.get_device_properties(device).total_memory
    share = gigabytes * BYTES_PER_GB / total
    if not 0 < share <= 1:
        raise UsageError(
            f"device memory cannot be limited to {gigabytes} GB: use more than 0 and at most the "
            f"{total / BYTES_PER_GB:.1f} GB of {device}"
        )
    torch.cuda.set_per_process_memory_fraction(share, device)
