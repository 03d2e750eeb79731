# SPDX-License-Identifier: MIT
"""``--isolation``: whether the model lives in this process or in one of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from virnuc_profiler.cli.measurement_request import resolve_device_here

if TYPE_CHECKING:
    from virnuc_profiler.sweep.plan.request import Request, ResolveDevice, TrialModel


@dataclass(frozen=True, slots=True)
class ModelHost:
    """Where the model lives.

    Attributes:
        resolve_device: finds its device.
        load: loads it.
        limits: the time limits that only hold there, as conditions name them.
    """

    resolve_device: ResolveDevice
    load: Callable[[Request], TrialModel]
    limits: Mapping[str, float | None]


@contextmanager
def model_host(arguments: argparse.Namespace) -> Iterator[ModelHost]:
    """This process, or a supervised one; then this one needs no PyTorch to measure."""
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
    """The time limits of a supervised process, as conditions name them; None without one."""
    supervised = arguments.isolation != "none"
    names = ("start_timeout", "progress_timeout")
    return {f"{name}_s": getattr(arguments, name) if supervised else None for name in names}


def _load_here(request: Request) -> TrialModel:
    from virnuc_profiler.sweep.trial.measured_model import MeasuredModel

    return MeasuredModel(request)
