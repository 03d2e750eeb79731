# SPDX-License-Identifier: MIT
"""Where results come from: machine, software and model, as every result file names them."""

from __future__ import annotations

import platform
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from virnuc_profiler import __version__

_PACKAGES: Final = ("fair-esm", "flash-attn", "numpy")


@cache
def machine_description() -> dict[str, Any]:
    """The hardware, looked at once: asking the driver takes too long to do it for each configuration."""
    from virnuc_profiler.capture.hardware import capture_hardware_info

    return capture_hardware_info()


@cache
def software_versions() -> dict[str, str | None]:
    """Versions of what computes and of what measures; None for what is not installed."""
    import torch

    return {
        "virnuc_profiler": __version__,
        "python": platform.python_version(),
        **{package.replace("-", "_"): _version(package) for package in _PACKAGES},
        "torch": torch.__version__,  # with its build, which the package's own version may lack
        "cuda": torch.version.cuda,
    }


def model_description(model: Any) -> dict[str, Any]:
    """A model's ``info``, or at least its type if it is none of ours."""
    info = getattr(model, "info", None)
    return {"model_name": type(model).__name__} if info is None else asdict(info)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
