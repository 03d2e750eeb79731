# SPDX-License-Identifier: MIT
"""Find out what can be measured on this machine's GPUs by measuring each of them briefly."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from virnuc_profiler import _core
from virnuc_profiler.errors import VirnucError

OK: Final = "ok"
MISSING: Final = "missing"
BROKEN: Final = "broken"

_PROBE_S: Final = 1.3
"""Seconds of sampling; long enough for two readings of every sampler tier."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes:
        name: Name of the checked component.
        state: ``ok``, ``missing`` (fewer things can be measured) or ``broken`` (nothing can be measured).
        found: What the check found, or the reason why it found nothing.
        fix: What the user can do about it. Empty if nothing needs to be done.
    """

    name: str
    state: str
    found: str
    fix: str = ""


def device_checks() -> Iterator[Check]:
    """Check the driver, NVML, each device with its sampler tiers, and Nsight Systems."""
    driver, nvml = _core.cuda_status(), _core.nvml_status()
    yield _library("CUDA driver", driver, "install NVIDIA's driver; without it, only host times are measured")
    yield _library(
        "NVML", nvml, "install NVIDIA's driver, which contains libnvidia-ml.so.1; without it, the GPU is not sampled"
    )
    devices = _core.cuda_devices() if driver.available else []
    if driver.available and not devices:
        yield Check("GPU", MISSING, "the driver shows no GPU to this process", "check CUDA_VISIBLE_DEVICES")
    for device in devices:
        major, minor = device.compute_capability
        memory = f"{device.total_memory_bytes / 1e9:.1f} GB"
        yield Check(f"cuda:{device.ordinal}", OK, f"{device.name}, {memory}, compute capability {major}.{minor}")
        yield from _device_timing(device)
        if nvml.available:
            yield from _sampling(device)
    yield _nsight_systems()


def _library(name: str, status: _core.LibraryStatus, fix: str) -> Check:
    return Check(name, OK, status.path) if status.available else Check(name, MISSING, status.reason, fix)


def _device_timing(device: _core.CudaDevice) -> Iterator[Check]:
    name = f"cuda:{device.ordinal} device times"
    try:
        timeline = _core.Timeline(["probe"], ["probe"], device=device.ordinal, nvtx=False)
        with timeline.begin_batch(0) as batch:
            batch.mark("probe")
        timeline.stop()
    except VirnucError as error:
        yield Check(name, MISSING, str(error), _TIMING_FIX)
        return
    if timeline.dropped_batches or not timeline.device_enabled:
        reason = timeline.device_error or "the device returned no times"
        yield Check(name, MISSING, reason, _TIMING_FIX)
        return
    alignment = timeline.alignment
    within = "" if alignment is None else f"aligned to the host clock within {alignment.uncertainty_ns / 1e3:.1f} us"
    yield Check(name, OK, within)


def _sampling(device: _core.CudaDevice) -> Iterator[Check]:
    try:
        sampler = _core.GpuSampler(device.uuid, energy_interval_ms=500.0)
        sampler.start()
        time.sleep(_PROBE_S)
        sampler.stop()
    except VirnucError as error:
        fix = "check that nvidia-smi shows the device"
        yield Check(f"cuda:{device.ordinal} sampling", MISSING, str(error), fix)
        return
    for tier in sampler.tiers():
        name = f"cuda:{device.ordinal} {_TIERS.get(tier.name, tier.name)}"
        if tier.readings:
            yield Check(name, OK, f"{tier.readings} readings in {_PROBE_S:g} s")
        else:
            reason = tier.unsupported or ("NVML does not answer" if tier.stalled else f"{tier.errors} NVML errors")
            yield Check(name, MISSING, reason, _TIER_FIXES.get(tier.name, ""))


def _nsight_systems() -> Check:
    path = shutil.which("nsys")
    if path is not None:
        return Check("Nsight Systems", OK, path)
    return Check(
        "Nsight Systems",
        MISSING,
        "nsys is not on PATH; NVTX ranges are marked anyway",
        "install Nsight Systems to capture timelines",
    )


_TIMING_FIX: Final = "check with nvidia-smi whether another program uses or has locked the device"
_TIERS: Final = {
    "fast": "utilization, power, clocks",
    "gpm": "SM, tensor and DRAM activity",
    "energy": "energy counter",
    "processes": "other processes",
}
_TIER_FIXES: Final = {
    "gpm": "use a Hopper or later GPU, and allow this user to read performance counters",
    "energy": "use a Volta or later GPU",
}
