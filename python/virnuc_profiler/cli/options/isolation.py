# SPDX-License-Identifier: MIT
"""``--isolation``: whether the model lives in this process or in one of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from virnuc_profiler.cli.options.measurement_request import resolve_device_here
from virnuc_profiler.sweep.worker.deadlines import PROGRESS_TIMEOUT_S, START_TIMEOUT_S
from virnuc_profiler.targets.knobs.configuration import BUILTIN_TARGET

if TYPE_CHECKING:
    from virnuc_profiler.inference.sequences.fasta import FastaFile
    from virnuc_profiler.sweep.plan.request import Request, ResolveDevice
    from virnuc_profiler.sweep.trial.loaded_model import LoadedModel
    from virnuc_profiler.sweep.trial.measured_model import MeasuredModel
    from virnuc_profiler.sweep.trial.measured_target import MeasuredTarget
    from virnuc_profiler.targets.contract import TargetOptions
    from virnuc_profiler.targets.knobs.target_facts import TargetFacts


@dataclass(frozen=True, slots=True)
class ModelHost:
    """The process in which the model lives.

    Attributes:
        resolve_device: Resolves the model's device.
        load: Loads the model.
        knobs_of: Makes a target and returns what it is tuned by.
        limits: Time limits that hold only there, as conditions name them.
    """

    resolve_device: ResolveDevice
    load: Callable[[Request], LoadedModel]
    knobs_of: Callable[[str, TargetOptions], TargetFacts]
    limits: Mapping[str, float | None]


@contextmanager
def model_host(arguments: argparse.Namespace) -> Iterator[ModelHost]:
    """Yield this process as the host, or a supervised one, with which this process needs no PyTorch."""
    if arguments.isolation == "none":
        here = ThisProcess()
        yield ModelHost(resolve_device_here, here.load, here.knobs_of, limits_of(arguments))
        return
    with model_process(arguments.start_timeout, arguments.progress_timeout) as host:
        yield replace(host, limits=limits_of(arguments))


@contextmanager
def model_process(
    start_timeout_s: float = START_TIMEOUT_S, progress_timeout_s: float = PROGRESS_TIMEOUT_S
) -> Iterator[ModelHost]:
    """Yield a supervised process as the host. It starts when it is first needed, and ends with the context.

    Args:
        start_timeout_s: Time limit of loading the model.
        progress_timeout_s: Longest time without a finished batch.
    """
    from virnuc_profiler.sweep.worker.deadlines import Timeouts
    from virnuc_profiler.sweep.worker.supervised_model import SupervisedModel
    from virnuc_profiler.sweep.worker.supervisor import Supervisor

    with Supervisor(Timeouts(start_timeout_s, progress_timeout_s)) as supervisor:
        yield ModelHost(
            supervisor.resolve_device,
            lambda request: SupervisedModel(request, supervisor),
            supervisor.facts_of_target,
            {},
        )


def limits_of(arguments: argparse.Namespace) -> dict[str, float | None]:
    """Return the time limits of a supervised process, as conditions name them; None without one."""
    supervised = arguments.isolation != "none"
    names = ("start_timeout", "progress_timeout")
    return {f"{name}_s": getattr(arguments, name) if supervised else None for name in names}


class ThisProcess:
    """Makes models and targets in this process. A target that was made to be asked for its knobs is used then."""

    def __init__(self) -> None:
        from virnuc_profiler.sweep.worker.child import IdleTarget

        self._targets = IdleTarget()

    def knobs_of(self, target: str, options: TargetOptions) -> TargetFacts:
        """Make a target, and return what it is tuned by.

        Args:
            target: Target as the user names it.
            options: Options of its factory.

        Raises:
            UsageError: There is no such target, its package is missing, or it does not keep the contract.
            ModelError: It could not be made.
        """
        from virnuc_profiler.targets.knobs.target_facts import TargetFacts

        return TargetFacts.from_json(self._targets.made(target, options).facts())

    def load(self, request: Request, fasta: FastaFile | None = None) -> MeasuredModel | MeasuredTarget:
        """Load the model or the target of a request.

        Args:
            request: What is asked for.
            fasta: Open file of the workload; None to open it before the first run.

        Raises:
            UsageError: Model, precision, memory limit or target do not fit.
            ModelError: The weights are not available, or the target could not be made.
        """
        if request.target == BUILTIN_TARGET:
            from virnuc_profiler.sweep.trial.measured_model import MeasuredModel

            return MeasuredModel(request, fasta)
        from virnuc_profiler.sweep.trial.measured_target import MeasuredTarget

        return MeasuredTarget(request, fasta, target=self._targets.taken(request.target, request.target_options()))
