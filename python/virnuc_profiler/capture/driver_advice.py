# SPDX-License-Identifier: MIT
"""What to do about a driver library that cannot be used, by the code with which its initialization failed.

Codes and their meaning: ``CUresult`` in cuda.h and ``nvmlReturn_t`` in nvml.h.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

_RELOAD: Final = (
    "the kernel module is of another version than the library, as after an update of the driver: reboot, or unload and "
    "load the nvidia modules; in a container, remove its own copy of the driver's libraries"
)

_CUDA: Final[Mapping[int, str]] = {
    2: "the driver found no memory to start: end other programs on this host and GPU",
    34: "this is the toolkit's stub and not the driver: remove .../stubs from LD_LIBRARY_PATH",
    100: "the driver works but shows no GPU: check {visible}; in a container, pass the GPUs (docker run --gpus all)",
    101: "{visible} names no device of this machine: compare it with nvidia-smi -L",
    304: "the system refused a call: check that this user may open /dev/nvidia* and that /dev/nvidia-uvm exists",
    802: "the NVSwitch fabric is not ready: start nvidia-fabricmanager, of the driver's version",
    803: _RELOAD,
    804: "this GPU does not support the forward-compatible libcuda (cuda-compat): remove it from LD_LIBRARY_PATH, or "
    "update the driver",
    999: "see dmesg for lines with NVRM or Xid; after a suspend, reload nvidia_uvm; in a container, pass "
    "/dev/nvidia-uvm",
}
_NVML: Final[Mapping[int, str]] = {
    4: "this user may not open /dev/nvidiactl: change its permissions; in a container, pass the GPUs (docker run "
    "--gpus all)",
    9: "the driver's kernel module is not loaded: modprobe nvidia, and see dmesg if that fails; in a container, pass "
    "the GPUs (docker run --gpus all)",
    12: "a part of the driver is missing: install the whole driver again; in a container, set "
    "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    15: "a GPU has fallen off the bus: see dmesg for its Xid, and reset it or reboot",
    16: "a GPU needs a reset: nvidia-smi --gpu-reset, or reboot",
    17: "the system refused a call: check that this user may open /dev/nvidia*",
    18: _RELOAD,
    999: "see dmesg for lines with NVRM or Xid, and whether nvidia-smi works",
}


def cuda_advice(code: int | None, path: str) -> str:
    """Return what to do about a CUDA driver that cannot be used.

    Args:
        code: Code that cuInit returned; None if the library was not found or lacks a function.
        path: File of the library; empty if none was found.
    """
    found = _advice(_CUDA, code, path, "VIRNUC_PROFILER_LIBCUDA")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    shown = "CUDA_VISIBLE_DEVICES" if visible is None else f"CUDA_VISIBLE_DEVICES={visible}"
    return f"{found.replace('{visible}', shown)}; until then, only host times are measured"


def nvml_advice(code: int | None, path: str) -> str:
    """Return what to do about an NVML that cannot be used.

    Args:
        code: Code that nvmlInit returned; None if the library was not found or lacks a function.
        path: File of the library; empty if none was found.
    """
    return f"{_advice(_NVML, code, path, 'VIRNUC_PROFILER_LIBNVML')}; until then, the GPU is not sampled"


def _advice(known: Mapping[int, str], code: int | None, path: str, override: str) -> str:
    if code is not None:
        return known.get(code, "see whether nvidia-smi works, and dmesg for lines with NVRM or Xid")
    if override in os.environ:
        return f"correct or unset {override}"
    if path:
        return "update NVIDIA's driver"
    return "install NVIDIA's driver; in a container, pass the GPUs (docker run --gpus all)"
