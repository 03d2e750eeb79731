# SPDX-License-Identifier: MIT
"""Which device a profiler measures."""

import sys
from dataclasses import dataclass
from typing import Any

from virnuc_profiler import _core
from virnuc_profiler.errors import LibraryUnavailable, UsageError


@dataclass(frozen=True, slots=True)
class Target:
    """A device that can be measured, or the reason why there is none.

    Attributes:
        name: ``NVIDIA H200``, or ``cpu``.
        ordinal: CUDA's number of the device; None for the CPU.
        uuid: as NVML knows the device; None for the CPU.
        reason: why there is no GPU to measure; empty if there is one, or if the CPU was asked for.
    """

    name: str = "cpu"
    ordinal: int | None = None
    uuid: str | None = None
    reason: str = ""


def resolve_target(device: Any) -> Target:
    """Finds the device that `device` names: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, a number or a torch.device.

    ``auto`` is PyTorch's current CUDA device, and the CPU where there is none.

    Raises:
        UsageError: no such device, or not a device at all.
        LibraryUnavailable: a GPU was asked for and there is no usable driver.
    """
    wanted = f"cuda:{device}" if isinstance(device, int) else str(device)
    if wanted == "cpu":
        return Target()
    kind, _, number = wanted.partition(":")
    if wanted != "auto" and (kind != "cuda" or (number and not number.isdecimal())):
        raise UsageError(f"device {wanted!r} is not one of auto, cpu, cuda, cuda:N")
    status = _core.cuda_status()
    devices = _core.cuda_devices() if status.available else []
    if not devices:
        reason = status.reason or "the CUDA driver shows no device to this process"
        if wanted == "auto":
            return Target(reason=reason)
        raise LibraryUnavailable(f"device {wanted!r} cannot be used: {reason}")
    ordinal = int(number) if number else _current_ordinal()
    if ordinal >= len(devices):
        raise UsageError(f"device {wanted!r} is not there: this process sees cuda:0 to cuda:{len(devices) - 1}")
    return Target(name=devices[ordinal].name, ordinal=ordinal, uuid=devices[ordinal].uuid)


def current_stream(ordinal: int) -> int:
    """PyTorch's current stream on that device as a ``CUstream`` handle; the default stream without PyTorch."""
    torch = _torch_on_cuda()
    return 0 if torch is None else int(torch.cuda.current_stream(ordinal).cuda_stream)


def _current_ordinal() -> int:
    torch = _torch_on_cuda()
    return 0 if torch is None else int(torch.cuda.current_device())


def _torch_on_cuda() -> Any:
    """PyTorch, if it uses CUDA already.

    Before that its device and stream are the default ones, and asking fails where it was built without CUDA.
    """
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_initialized() else None
