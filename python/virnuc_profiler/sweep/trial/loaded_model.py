# SPDX-License-Identifier: MIT
"""The contract between a sweep and a model, wherever the model lives. Imports no PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.records import GpuReading


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """What the trial that is running has recorded until now.

    Attributes:
        batches: Batches that are done; None if they are not counted.
        gpu: Newest reading of the GPU; None if it is not sampled.
    """

    batches: int | None = None
    gpu: GpuReading | None = None


class LoadedModel(Protocol):
    """A loaded model with which configurations are measured, in this process or in another.

    It loads another model by itself where a configuration needs one. Used as a context manager, it is closed at the
    end.
    """

    @property
    def description(self) -> dict[str, Any]:
        """Return the model as result files name it."""

    @property
    def device_name(self) -> str:
        """Return the device's product name."""

    @property
    def forecast(self) -> object | None:
        """Return an object whose text says what the model needs and which budgets fit; None if that is not known."""

    @property
    def largest_budget(self) -> int | None:
        """Return the largest token budget that is forecast to fit; None where nothing is forecast."""

    def conditions(self) -> Conditions:
        """Return the conditions of results with this model on this machine."""

    def warm_up(self, workload: Workload, num_workers: int = 1) -> None:
        """Run a few sequences unmeasured, now and whenever a model is loaded later."""

    def run_trial(
        self,
        workload: Workload,
        configuration: Configuration,
        output_dir: Path,
        on_progress: Callable[[int], None] | None = None,
        on_tokens: Callable[[int], None] | None = None,
        *,
        brief: bool = False,
    ) -> Result:
        """Measure one configuration; `brief` shortens the run and the pause after it, where many are compared."""

    def live_figures(self) -> LiveFigures:
        """Return what the trial that is running has recorded until now; any thread may ask, about once per second."""

    def predicted_failure(self, workload: Workload, configuration: Configuration) -> Result | None:
        """Return the result of a configuration that cannot fit the device; None if it may fit."""

    def close(self) -> None:
        """Release the model; may be called again."""


def with_model(result: Result, description: dict[str, Any], reloaded: bool) -> Result:
    """Return a result that says which model it was measured with, if a sweep varies the model.

    Args:
        result: Result of a configuration.
        description: The model as result files name it, for a result that does not name it yet.
        reloaded: Whether the model was loaded again for this configuration.
    """
    if not result.configuration.values("model"):
        return result
    return replace(result, model=result.model or description, model_reloaded=reloaded)


def with_output(result: Result, path: Path) -> Result:
    """Return a result whose failure names the file with what a target printed, if it printed anything.

    Args:
        result: Result of a configuration.
        path: The file, which exists only if something was printed.
    """
    if result.succeeded or not path.exists():
        return result
    return replace(result, message=f"{result.message}; what it printed is in {path}")
