# SPDX-License-Identifier: MIT
import json
import subprocess
import sys
import types
from importlib.util import find_spec

import pytest

from virnuc_profiler.capture.hardware import _cuda_of_build, capture_hardware_info

KEYS = {
    "gpu_count",
    "gpu_models",
    "gpu_memory_gb",
    "gpus",
    "gpu_reason",
    "cuda_visible_devices",
    "driver_version",
    "cuda_version",
    "torch_version",
    "torch_cuda_version",
    "cpu_model",
    "cpu_physical_cores",
    "cpu_logical_cores",
    "cpu_usable_cores",
    "cpu_affinity_cores",
    "cpu_quota_cores",
    "memory_total_gb",
    "python_version",
    "python_implementation",
    "platform",
    "hostname",
}


def lost(*arguments):
    raise RuntimeError("GPU is lost")


class FakeNvml(types.ModuleType):
    """Two GPUs; the second has fallen off the bus. The calls named in `broken` fail."""

    def __init__(self, broken=()):
        super().__init__("pynvml")
        self.open = 0
        answers = {
            "nvmlInit": lambda: self.count(1),
            "nvmlShutdown": lambda: self.count(-1),
            "nvmlSystemGetDriverVersion": lambda: b"580.159",
            "nvmlSystemGetCudaDriverVersion_v2": lambda: 13010,
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": lambda index: index if index == 0 else lost(),
            "nvmlDeviceGetName": lambda handle: "NVIDIA H200",
            "nvmlDeviceGetUUID": lambda handle: "GPU-0",
            "nvmlDeviceGetMemoryInfo": lambda handle: types.SimpleNamespace(total=150_754_820_096),
            "nvmlDeviceGetPciInfo": lambda handle: types.SimpleNamespace(busId=b"00000000:0A:00.0"),
            "nvmlDeviceGetCudaComputeCapability": lambda handle: (9, 0),
            "nvmlDeviceGetMigMode": lambda handle: [0, 0],
            "nvmlDeviceGetEnforcedPowerLimit": lambda handle: 700_000,
        }
        self.__dict__.update(answers, **dict.fromkeys(broken, lost))

    def count(self, change):
        self.open += change


def test_all_keys_are_present_on_any_machine():
    info = capture_hardware_info()
    assert set(info) == KEYS
    assert json.loads(json.dumps(info, allow_nan=False)) == info
    assert info["gpu_count"] == len(info["gpus"]) == len(info["gpu_models"]) == len(info["gpu_memory_gb"])
    assert bool(info["gpu_reason"]) == (info["gpu_count"] == 0)
    assert info["python_version"] == ".".join(map(str, sys.version_info[:3]))
    assert info["cpu_logical_cores"] >= 1
    assert info["memory_total_gb"] > 0


def test_a_lost_gpu_beside_a_healthy_one(monkeypatch):
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    info = capture_hardware_info()
    assert nvml.open == 0
    assert info["gpu_count"] == 2
    assert info["gpu_models"] == ["NVIDIA H200", None]
    assert info["gpu_memory_gb"] == [150.75, None]
    assert (info["driver_version"], info["cuda_version"]) == ("580.159", "13.1")
    assert info["gpus"][0] == {
        "index": 0,
        "name": "NVIDIA H200",
        "uuid": "GPU-0",
        "pci_bus_id": "00000000:0A:00.0",
        "memory_total_bytes": 150_754_820_096,
        "compute_capability": "9.0",
        "power_limit_mw": 700_000,
        "mig_enabled": False,
    }
    assert info["gpus"][1] == {**dict.fromkeys(info["gpus"][0]), "index": 1}
    assert info["gpu_reason"] == ""


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetCount", "nvmlSystemGetDriverVersion", "nvmlShutdown"])
def test_an_nvml_error_gives_a_reason_and_does_not_raise(monkeypatch, call):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(broken=[call]))
    assert set(capture_hardware_info()) == KEYS


def test_an_older_nvidia_ml_py_without_a_function(monkeypatch):
    nvml = FakeNvml()
    del nvml.nvmlDeviceGetMigMode
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    info = capture_hardware_info()
    assert info["gpus"][0]["mig_enabled"] is None
    assert info["gpus"][0]["name"] == "NVIDIA H200"


def test_the_reason_names_the_nvml_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(broken=["nvmlDeviceGetCount"]))
    info = capture_hardware_info()
    assert info["gpu_count"] == 0
    assert "GPU is lost" in info["gpu_reason"]


def test_without_nvidia_ml_py(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    info = capture_hardware_info()
    assert info["gpu_count"] == 0
    assert "nvidia-ml-py" in info["gpu_reason"]


@pytest.mark.skipif(find_spec("torch") is None, reason="needs PyTorch")
def test_torch_is_not_imported_for_its_version():
    code = (
        "import sys; from virnuc_profiler import capture_hardware_info; info = capture_hardware_info();"
        "assert 'torch' not in sys.modules; print(info['torch_version'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip()[0].isdigit()


@pytest.mark.parametrize(
    ("version", "cuda"),
    [("2.11.0+cu130", "13.0"), ("2.6.0+cu118", "11.8"), ("2.13.0+cpu", None), ("2.11.0", None), ("2.1+cu", None)],
)
def test_cuda_of_a_build(version, cuda):
    assert _cuda_of_build(version) == cuda
