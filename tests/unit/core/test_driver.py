# SPDX-License-Identifier: MIT
"""Loading the driver libraries, and the reasons given when they are missing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.standin import CARD_UUID, MIG_UUID, CudaControl, NvmlControl, Standins
from virnuc_profiler import _core
from virnuc_profiler.errors import LibraryUnavailable


def describe_devices() -> None:
    cuda = CudaControl()
    assert _core.cuda_status().available
    assert _core.cuda_status().reason == ""
    assert "standin" in _core.cuda_status().path
    assert _core.nvml_status().available
    cuda.set_devices(2)
    first, second = _core.cuda_devices()
    assert (first.ordinal, first.name, first.uuid) == (0, "Stand-in GPU 0", CARD_UUID)
    assert (second.ordinal, second.pci_bus_id) == (1, "0000:02:00.0")
    assert first.total_memory_bytes == 64 << 30
    assert first.compute_capability == (9, 0)
    cuda.set_devices(1, mig=True)
    assert [device.uuid for device in _core.cuda_devices()] == [MIG_UUID]
    cuda.set_devices(0)
    assert _core.cuda_devices() == []


def refuse_to_initialize() -> None:
    CudaControl().fail("cuInit", 100)
    assert not _core.cuda_status().available
    assert "cuInit returned CUDA error 100" in _core.cuda_status().reason
    assert _core.cuda_devices() == []
    with pytest.raises(LibraryUnavailable, match="CUDA device 0 cannot be used: cuInit"):
        _core.Timeline(["a"], device=0)
    NvmlControl().fail("nvmlInit_v2", 9)
    assert _core.nvml_status().reason == "nvmlInit_v2: Driver Not Loaded"
    with pytest.raises(LibraryUnavailable, match="Driver Not Loaded"):
        _core.GpuSampler(CARD_UUID)


def find_nothing() -> None:
    for status in (_core.cuda_status(), _core.nvml_status()):
        assert not status.available
        assert "/nowhere/lib.so" in status.reason
        assert "VIRNUC_PROFILER_LIB" in status.reason
    assert _core.cuda_devices() == []
    with pytest.raises(LibraryUnavailable, match=r"/nowhere/lib\.so"):
        _core.Timeline(["a"], device=0)
    with pytest.raises(LibraryUnavailable, match=r"/nowhere/lib\.so"):
        _core.GpuSampler(CARD_UUID)
    _core.Timeline(["a"])  # host times need no library


@pytest.mark.parametrize("scenario", [describe_devices, refuse_to_initialize])
def test_driver(standins: Standins, scenario: Any) -> None:
    standins.call(scenario)


def test_missing_libraries(standins: Standins) -> None:
    nowhere = Path("/nowhere/lib.so")
    Standins(nowhere, nowhere, nowhere).call(find_nothing)


def test_a_library_without_the_symbols_of_a_driver(standins: Standins) -> None:
    swapped = Standins(standins.nvml_path, standins.cuda_path, standins.nvtx_path)
    source = "from virnuc_profiler import _core as c; print(c.cuda_status().reason, c.nvml_status().reason)"
    reasons = swapped.run([sys.executable, "-c", source])
    assert "lacks cuInit" in reasons
    assert "lacks nvmlInit_v2" in reasons


def test_the_extension_links_no_gpu_library() -> None:
    dynamic = subprocess.run(["readelf", "-d", str(_core.__file__)], capture_output=True, text=True, check=True).stdout
    needed = [line for line in dynamic.splitlines() if "NEEDED" in line]
    assert needed
    assert not [line for line in needed if "cuda" in line or "nvidia" in line or "nvToolsExt" in line]
