# SPDX-License-Identifier: MIT
"""Sample a device briefly, and tell of each quantity whether it was read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from virnuc_profiler import _core

_PROBE_S: Final = 1.3
"""Seconds of sampling; long enough for two readings of every sampler tier."""


@dataclass(frozen=True, slots=True)
class QuantityCheck:
    """Whether a quantity of a device can be sampled.

    Attributes:
        name: Name of the quantity.
        value: The last reading as text; None if there was none.
        reason: Why there was none. Empty if there was one.
        fix: What the user can do about it. Empty if nothing needs to be done, or nothing can be.
    """

    name: str
    value: str | None
    reason: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class _Quantity:
    tier: str
    column: str
    name: str
    text: Callable[[float], str]
    fix: str = ""


_GPM_FIX: Final = "use a Hopper or later GPU, and allow this user to read performance counters"
# Without the SM share of others: where nothing runs, NVML has no sample of it, supported or not.
_QUANTITIES: Final = (
    _Quantity("fast", "utilization_percent", "utilization", "{:.0f} %".format),
    _Quantity("fast", "power_mw", "power", lambda value: f"{value / 1e3:,.1f} W"),
    _Quantity("fast", "sm_clock_mhz", "SM clock", "{:,.0f} MHz".format),
    _Quantity("fast", "memory_clock_mhz", "memory clock", "{:,.0f} MHz".format),
    _Quantity("fast", "temperature_c", "temperature", "{:.0f} °C".format),
    _Quantity("fast", "throttle_reasons", "throttle reasons", lambda value: f"0x{int(value):x}"),
    _Quantity("fast", "used_memory_bytes", "used memory", lambda value: f"{value / 1e9:,.2f} GB"),
    _Quantity("gpm", "sm_activity", "SM activity", "{:.1%}".format, _GPM_FIX),
    _Quantity("gpm", "tensor_activity", "tensor activity", "{:.1%}".format, _GPM_FIX),
    _Quantity("gpm", "dram_activity", "DRAM activity", "{:.1%}".format, _GPM_FIX),
    _Quantity(
        "energy", "energy_mj", "energy counter", lambda value: f"{value / 1e3:,.0f} J", "use a Volta or later GPU"
    ),
    _Quantity("processes", "other_processes", "other processes", "{:.0f}".format),
)


def sample_quantities(uuid: str) -> Iterator[QuantityCheck]:
    """Sample a device for about a second, and check each quantity.

    Args:
        uuid: UUID of the device, as NVML knows it.

    Raises:
        LibraryUnavailable: NVML cannot be used, or has no such device.
    """
    sampler = _core.GpuSampler(uuid, energy_interval_ms=500.0)
    sampler.start()
    time.sleep(_PROBE_S)
    sampler.stop()
    readings = {
        "fast": sampler.fast_readings(),
        "gpm": sampler.gpm_readings(),
        "energy": sampler.energy_readings(),
        "processes": sampler.process_readings(),
    }
    tiers = {tier.name: tier for tier in sampler.tiers()}
    for quantity in _QUANTITIES:
        values = _measured(readings[quantity.tier][quantity.column])
        if values.size:
            yield QuantityCheck(quantity.name, quantity.text(float(values[-1])))
        else:
            reason = _reason(tiers[quantity.tier], "MIG slice" if uuid.startswith("MIG-") else "device")
            yield QuantityCheck(quantity.name, None, reason, quantity.fix)


def _measured(column: Any) -> Any:
    is_measured = ~np.isnan(column) if column.dtype.kind == "f" else column != _core.NOT_MEASURED
    return column[is_measured]


def _reason(tier: _core.SamplerTier, device: str) -> str:
    if tier.unsupported:
        return tier.unsupported
    if tier.stalled:
        return "NVML does not answer"
    if tier.errors:  # NVML counts them per group of queries
        return (
            f"NVML returned no value: it is not supported for this {device}, or is among {tier.errors} failed queries"
        )
    return f"NVML does not support it for this {device} or user"
