# SPDX-License-Identifier: MIT
"""``--isolation``: whether the model lives in this process or in one of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from virnuc_profiler.cli.options.measurement_request import resolve_device_here

if TYPE_CHECKING:
    from virnuc_profiler.sweep.plan.request import Request, ResolveDevice
    from virnuc_profiler.sweep.trial.loaded_model import LoadedModel


@dataclass(frozen=True, slots=True)
class ModelHost:
    """The process in which the model lives.

    Attributes:
        resolve_device: Resolves the model's device.
        load: Loads the model.
        limits: Time limits that hold only there, as conditions name them.
    """

    resolve_device: ResolveDevice
    load: Callable[[Request], LoadedModel]
    limits: Mapping[str, float | None]


@contextmanager
def model_host(arguments: argparse.Namespace) -> Iterator[ModelHost]:
    """Yield this process as the host, or a supervised one, with which this process needs no PyTorch."""
    if arguments.isolation == "none":
        yield ModelHost(resolve_device_here, _load_here, limits_of(arguments))
        return
    from virnuc_profiler.sweep.worker.deadlines import Timeouts
    from virnuc_profiler.sweep.worker.supervised_model import SupervisedModel
    from virnuc_profiler.sweep.worker.supervisor import Supervisor

    with Supervisor(Timeouts(arguments.start_timeout, arguments.progress_timeout)) as supervisor:
        yield ModelHost(
            supervisor.resolve_device, lambda request: SupervisedModel(request, supervisor), limits_of(arguments)
        )  # fmt: skip


def limits_of(arguments: argparse.Namespace) -> dict[str, float | None]:
    """Return the time limits of a supervised process, as conditions name them; None without one."""
    supervised = arguments.isolation != "none"
    names = ("start_timeout", "progress_timeout")
    return {f"{name}_s": getattr(arguments, name) if supervised else None for name in names}


def _load_here(request: Request) -> LoadedModel:
    from virnuc_profiler.sweep.trial.measured_model import MeasuredModel

    return MeasuredModel(request)
