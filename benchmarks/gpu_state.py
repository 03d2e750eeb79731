# SPDX-License-Identifier: MIT
"""Read the clock and power of a GPU: figures can be compared only if these are similar."""

from dataclasses import dataclass
from typing import Any

import torch

from virnuc_profiler import _core


@dataclass(frozen=True, slots=True)
class GpuState:
    """Clock and power at one moment. Power is NVML's average over the last second."""

    sm_clock_mhz: int
    power_w: float


class GpuStateReader:
    """Read NVML on the caller's thread, outside of what is timed. Without a GPU, the reading is None."""

    def __init__(self, device: torch.device) -> None:
        self._handle: Any = None
        if device.type != "cuda":
            return
        import pynvml

        self._nvml = pynvml
        pynvml.nvmlInit()
        uuid = _core.cuda_devices()[device.index or 0].uuid
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)

    def read(self) -> GpuState | None:
        """Return the state now, or None if the driver does not report it, as on some virtual GPUs."""
        if self._handle is None:
            return None
        try:
            clock_mhz = self._nvml.nvmlDeviceGetClockInfo(self._handle, self._nvml.NVML_CLOCK_SM)
            power_w = self._nvml.nvmlDeviceGetPowerUsage(self._handle) / 1000
        except self._nvml.NVMLError:
            return None
        return GpuState(clock_mhz, power_w)
