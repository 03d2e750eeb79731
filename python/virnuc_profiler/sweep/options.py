# SPDX-License-Identifier: MIT
"""A request as options that a journal can hold, and back: how another process measures the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

    from virnuc_profiler.sweep.request import DeviceName, Request

    FindDevice = Callable[[str, str | None], torch.device | DeviceName]
    """Finds a device by its name, and checks that the precision fits it."""

HARMLESS: Final = ("cooldown", "timeout", "isolation", "start_timeout", "progress_timeout")
"""Options that may differ when a sweep is continued: they change how long it takes, not what is measured."""

_FIELDS: Final[Mapping[str, str]] = {
    "device": "device",
    "model": "model",
    "num_sequences": "num_sequences",
    "weights": "weights",
    "precision": "precision",
    "cooldown": "cooldown_s",
    "timeout": "timeout_s",
    "seed": "seed",
    "device_memory_gb": "device_memory_gb",
    "try_all": "try_all",
    "least_cosine": "least_cosine",
    "fasta": "fasta",
}
"""Options and the fields of a request that they fill."""


def options_of(request: Request) -> dict[str, Any]:
    """The options by which :func:`request_of` makes this request again, as JSON has them."""
    options = {option: getattr(request, field) for option, field in _FIELDS.items()}
    return {name: recorded(name, value) for name, value in options.items()}


def request_of(options: Mapping[str, Any], output_dir: Path, find_device: FindDevice) -> Request:
    """The request that the options of a journal make.

    Raises:
        UsageError: the device is not there, or the precision does not fit it.
    """
    from virnuc_profiler.sweep.request import Request

    values = {field: options[option] for option, field in _FIELDS.items()}
    fasta = None if values["fasta"] is None else Path(values["fasta"])
    device = find_device(values["device"], values["precision"])
    return Request(**{**values, "output_dir": output_dir, "device": device, "fasta": fasta})


def recorded(option: str, value: Any) -> Any:
    """The value of an option as a journal holds it: names of files hold from any folder."""
    if option == "fasta" and value is not None:
        return str(Path(value).absolute())
    if option == "weights" and value not in ("auto", "random", "pretrained"):
        return str(Path(value).absolute())
    if option == "device":
        return str(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value
