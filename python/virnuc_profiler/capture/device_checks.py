# SPDX-License-Identifier: MIT
"""Find out what can be measured on this machine's GPUs by measuring each of them briefly."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from virnuc_profiler import _core
from virnuc_profiler.capture.driver_advice import cuda_advice, nvml_advice
from virnuc_profiler.capture.sampling.sampling_checks import sample_quantities
from virnuc_profiler.errors import VirnucError

OK: Final = "ok"
MISSING: Final = "missing"
BROKEN: Final = "broken"


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
    """Check the driver, NVML, each device with every quantity that can be sampled, and Nsight Systems."""
    driver, nvml = _core.cuda_status(), _core.nvml_status()
    yield _library("CUDA driver", driver, cuda_advice)
    yield _library("NVML", nvml, nvml_advice)
    try:
        devices = _core.cuda_devices()
    except VirnucError as error:
        devices = []
        yield Check("GPU", MISSING, str(error), "see whether nvidia-smi works, and dmesg for lines with NVRM or Xid")
    else:
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


def driver_shows_devices() -> bool:
    """Return whether the CUDA driver works and shows a device to this process."""
    try:
        return bool(_core.cuda_devices())
    except VirnucError:
        return False


def _library(name: str, status: _core.LibraryStatus, advice: Callable[[int | None, str], str]) -> Check:
    if status.available:
        return Check(name, OK, status.path)
    return Check(name, MISSING, status.reason, advice(status.code, status.path))


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
        quantities = list(sample_quantities(device.uuid))
    except VirnucError as error:
        fix = "check that nvidia-smi shows the device"
        yield Check(f"cuda:{device.ordinal} sampling", MISSING, str(error), fix)
        return
    for quantity in quantities:
        name = f"cuda:{device.ordinal} {quantity.name}"
        if quantity.value is not None:
            yield Check(name, OK, quantity.value)
        else:
            yield Check(name, MISSING, quantity.reason, quantity.fix)


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
