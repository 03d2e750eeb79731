# SPDX-License-Identifier: MIT
"""Describe the machine: GPUs, driver, CUDA, PyTorch, CPU, Python.

NVML needs no CUDA context, and package versions are read without importing the packages. The description therefore
takes milliseconds and allocates no GPU memory.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from virnuc_profiler.capture.cpu_limits import cpu_limits

logger = logging.getLogger(__name__)

_GIGABYTE = 1e9
_GPU_KEYS = (
    "index",
    "name",
    "uuid",
    "pci_bus_id",
    "memory_total_bytes",
    "compute_capability",
    "power_limit_mw",
    "mig_enabled",
)


def capture_hardware_info() -> dict[str, Any]:
    """Describe the machine in JSON-serializable values. Never raises, and never creates a CUDA context.

    Returns:
        A dict with the following keys, all of them always present. A value of None means unknown.

        * ``gpu_count``: Number of GPUs that NVML lists, regardless of CUDA_VISIBLE_DEVICES; 0 without a driver.
        * ``gpu_models``: Name of each GPU; None for a GPU that did not answer.
        * ``gpu_memory_gb``: Memory of each GPU in units of 1e9 bytes; None for a GPU that did not answer.
        * ``gpus``: One dict for each GPU, with ``index`` (NVML's), ``name``, ``uuid``, ``pci_bus_id``,
          ``memory_total_bytes``, ``compute_capability``, ``power_limit_mw`` and ``mig_enabled``.
        * ``gpu_reason``: Reason why no GPU is described. Empty if the GPUs are described.
        * ``cuda_visible_devices``: Value of that environment variable.
        * ``driver_version``: Version of NVIDIA's driver.
        * ``cuda_version``: Newest CUDA version that the driver supports.
        * ``torch_version``: Version of PyTorch, with its build suffix.
        * ``torch_cuda_version``: CUDA version that PyTorch was built for.
        * ``cpu_model``, ``cpu_physical_cores``, ``cpu_logical_cores``: Model and cores of the CPU.
        * ``cpu_usable_cores``: Cores that this process can use: the smaller of the next two; not always whole.
        * ``cpu_affinity_cores``: Number of cores that this process may run on, by affinity mask and cpuset.
        * ``cpu_quota_cores``: Seconds of CPU time per second that the tightest quota of its control groups grants; None
          without a quota.
        * ``memory_total_gb``: Host memory in units of 1e9 bytes.
        * ``python_version``, ``python_implementation``, ``platform``, ``hostname``: Software of the host.
    """
    return {**_gpus(), **_torch(), **_cpu(), **_system()}


def _gpus() -> dict[str, Any]:
    found: dict[str, Any] = {
        "gpu_count": 0,
        "gpu_models": [],
        "gpu_memory_gb": [],
        "gpus": [],
        "gpu_reason": "",
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "driver_version": None,
        "cuda_version": None,
    }
    try:
        import pynvml
    except ImportError as error:
        return {**found, "gpu_reason": f"nvidia-ml-py is not installed ({error}): pip install nvidia-ml-py"}
    try:
        pynvml.nvmlInit()
    except Exception as error:  # no driver, no permission, or a driver that does not answer
        return {**found, "gpu_reason": f"NVML is not available: {error}"}
    try:
        found["driver_version"] = _text(_ask_nvml(pynvml, "nvmlSystemGetDriverVersion"))
        found["cuda_version"] = _cuda_version(_ask_nvml(pynvml, "nvmlSystemGetCudaDriverVersion_v2"))
        found["gpu_count"] = pynvml.nvmlDeviceGetCount()
        found["gpus"] = [_gpu(pynvml, index) for index in range(found["gpu_count"])]
        if not found["gpu_count"]:
            found["gpu_reason"] = "NVML lists no GPU"
    except Exception as error:
        found["gpu_reason"] = f"NVML did not describe the GPUs: {error}"
    finally:
        _ask_nvml(pynvml, "nvmlShutdown")
    found["gpu_models"] = [gpu["name"] for gpu in found["gpus"]]
    found["gpu_memory_gb"] = [_gigabytes(gpu["memory_total_bytes"]) for gpu in found["gpus"]]
    return found


def _gpu(pynvml: Any, index: int) -> dict[str, Any]:
    handle = _ask_nvml(pynvml, "nvmlDeviceGetHandleByIndex", index)
    if handle is None:  # a GPU that has fallen off the bus
        return {**dict.fromkeys(_GPU_KEYS), "index": index}
    memory = _ask_nvml(pynvml, "nvmlDeviceGetMemoryInfo", handle)
    pci = _ask_nvml(pynvml, "nvmlDeviceGetPciInfo", handle)
    capability = _ask_nvml(pynvml, "nvmlDeviceGetCudaComputeCapability", handle)
    mig = _ask_nvml(pynvml, "nvmlDeviceGetMigMode", handle)
    return {
        "index": index,
        "name": _text(_ask_nvml(pynvml, "nvmlDeviceGetName", handle)),
        "uuid": _text(_ask_nvml(pynvml, "nvmlDeviceGetUUID", handle)),
        "pci_bus_id": None if pci is None else _text(pci.busId),
        "memory_total_bytes": None if memory is None else int(memory.total),
        "compute_capability": None if capability is None else f"{capability[0]}.{capability[1]}",
        "power_limit_mw": _ask_nvml(pynvml, "nvmlDeviceGetEnforcedPowerLimit", handle),
        "mig_enabled": None if mig is None else bool(mig[0]),
    }


def _torch() -> dict[str, Any]:
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return {"torch_version": None, "torch_cuda_version": None}
    loaded = sys.modules.get("torch")
    cuda = getattr(getattr(loaded, "version", None), "cuda", None)
    if loaded is not None:
        version = str(getattr(loaded, "__version__", version))  # has the build suffix that the metadata may lack
    if cuda is None:
        cuda = _cuda_of_build(version)
    return {"torch_version": version, "torch_cuda_version": cuda}


def _cuda_of_build(version: str) -> str | None:
    """Read the CUDA version from a PyTorch version: ``12.8`` from ``2.11.0+cu128``; None if there is no such suffix."""
    digits = version.partition("+cu")[2]
    return f"{digits[:-1]}.{digits[-1]}" if digits.isdigit() and len(digits) > 1 else None


def _cpu() -> dict[str, Any]:
    limits = cpu_limits()
    found: dict[str, Any] = {
        "cpu_model": _cpu_model(),
        "cpu_physical_cores": None,
        "cpu_logical_cores": os.cpu_count(),
        "cpu_usable_cores": limits.usable_cores,
        "cpu_affinity_cores": limits.affinity_cores,
        "cpu_quota_cores": limits.quota_cores,
        "memory_total_gb": None,
    }
    try:
        import psutil
    except ImportError:
        return found
    memory = _ask(psutil.virtual_memory)
    return {
        **found,
        "cpu_physical_cores": _ask(psutil.cpu_count, False),
        "memory_total_gb": _gigabytes(None if memory is None else memory.total),
    }


def _cpu_model() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    except OSError:
        pass
    return _ask(platform.processor) or _ask(platform.machine) or None


def _system() -> dict[str, Any]:
    return {
        "python_version": platform.python_version(),
        "python_implementation": platform.python_implementation(),
        "platform": _ask(platform.platform),
        "hostname": _ask(platform.node) or None,
    }


def _ask(question: Callable[..., Any], *arguments: Any) -> Any:
    """Call `question`; return None if it fails, as single queries of NVML and /proc do on some machines."""
    try:
        return question(*arguments)
    except Exception as error:
        logger.debug("a query about the machine failed: %s", error)
        return None


def _ask_nvml(pynvml: Any, name: str, *arguments: Any) -> Any:
    return _ask(lambda: getattr(pynvml, name)(*arguments))  # getattr inside _ask: older versions lack some functions


def _text(value: Any) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _cuda_version(number: int | None) -> str | None:
    """Format NVML's version number: ``13.1`` for 13010."""
    return None if number is None else f"{number // 1000}.{number % 1000 // 10}"


def _gigabytes(count: int | None) -> float | None:
    return None if count is None else round(count / _GIGABYTE, 2)
