# SPDX-License-Identifier: MIT
"""Resolve the device that a profiler measures."""

import sys
from dataclasses import dataclass
from typing import Any

from virnuc_profiler import _core
from virnuc_profiler.errors import LibraryUnavailable, UsageError


@dataclass(frozen=True, slots=True)
class Target:
    """A device to measure, or the CPU and the reason why there is no device.

    Attributes:
        name: Name of the device, such as ``NVIDIA H200``, or ``cpu``.
        ordinal: CUDA ordinal of the device. None for the CPU.
        uuid: UUID of the device as NVML reports it. None for the CPU.
        reason: Reason why no GPU is measured. Empty if a GPU is measured or the CPU was requested.
    """

    name: str = "cpu"
    ordinal: int | None = None
    uuid: str | None = None
    reason: str = ""


def resolve_target(device: Any) -> Target:
    """Resolve a device name to a target.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, a CUDA ordinal, or a ``torch.device``. ``auto`` is PyTorch's
            current CUDA device, or the CPU without a GPU.

    Raises:
        UsageError: `device` names no device, or one that this process does not see.
        LibraryUnavailable: A GPU was requested, and the CUDA driver cannot be used.
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
        raise UsageError(f"device {wanted!r} does not exist: this process sees cuda:0 to cuda:{len(devices) - 1}")
    return Target(name=devices[ordinal].name, ordinal=ordinal, uuid=devices[ordinal].uuid)


def visible_uuids() -> list[str]:
    """Return the UUIDs of the devices that CUDA shows to this process, in its order; none without a driver."""
    return [device.uuid for device in _core.cuda_devices()] if _core.cuda_status().available else []


def current_stream(ordinal: int) -> int:
    """Return PyTorch's current stream on a device as a ``CUstream`` handle, or the default stream without PyTorch."""
    torch = _torch_on_cuda()
    return 0 if torch is None else int(torch.cuda.current_stream(ordinal).cuda_stream)


def _current_ordinal() -> int:
    torch = _torch_on_cuda()
    return 0 if torch is None else int(torch.cuda.current_device())


def _torch_on_cuda() -> Any:
    """Return the ``torch`` module if it has initialized CUDA, else None.

    Until then its device and stream are the default ones. Asking earlier would fail in a build without CUDA.
    """
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_initialized() else None
