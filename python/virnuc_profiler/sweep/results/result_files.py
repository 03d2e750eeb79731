# SPDX-License-Identifier: MIT
"""The result files of a sweep's folder: how documents are made, read and found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from virnuc_profiler.analysis.selection import select_best
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.steps import Step
from virnuc_profiler.sweep.results.document import BEST_KIND, STEP_KIND, BestConfiguration, Document
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.sweep_migrations import migrate_document, require_readable
from virnuc_profiler.sweep.results.verdicts.measurements import rate_of
from virnuc_profiler.sweep.results.verdicts.standing import Standing
from virnuc_profiler.targets.knobs.configuration import BUILTIN_TARGET, Configuration, target_name
from virnuc_profiler.telemetry.files import read_json
from virnuc_profiler.telemetry.rates import ratio

_Record = TypeVar("_Record")


def make_document(
    step: Step,
    conditions: Conditions,
    results: Iterable[Result],
    baseline: Result | None,
    *,
    planned: int,
    complete: bool | None = None,
    created: str | None = None,
    objective: Objective | None = None,
    repeats: int = 1,
    **more: Any,
) -> Document:
    """Make the document of a step from the results that it has so far.

    Args:
        step: The step.
        conditions: Conditions of the results, with the workload.
        results: Results in the order of the grid, with their standings; those without one were measured once.
        baseline: Result that speedups refer to; None if there is none.
        planned: Number of configurations that the step measures.
        complete: Whether all of them were measured in all blocks; None to tell from the number of results.
        created: Time of the last result, ISO 8601; None for now.
        objective: What is minimized; None for the predicted time of the usual job.
        repeats: Number of blocks in which each configuration is measured.
        **more: Further attributes of the document.
    """
    objective = objective or Objective()
    compared = tuple(_with_standing(result, baseline, objective) for result in results)
    selected = select_best(
        compared, step.min_packing, cost=_cost_of, fits=lambda one: objective.fits(one.peak_memory_gb)
    )
    constrained = (step.min_packing, objective.max_memory_gb) != (None, None) and selected.best is not None
    return Document(
        step=step.name,
        created=created or now(),
        complete=len(compared) == planned if complete is None else complete,
        conditions=conditions,
        grid=step.grid,
        planned=planned,
        min_packing=step.min_packing,
        baseline=baseline,
        results=compared,
        best=selected.best,
        constraint_met=selected.constraint_met if constrained else None,
        objective=objective,
        repeats=repeats,
        **more,
    )


def with_standings(document: Document, standings: Mapping[Configuration, Standing]) -> Document:
    """Return a document whose results have other standings, such as those with intervals.

    Args:
        document: Document of a step.
        standings: Standings by configuration.
    """

    def renewed(result: Result) -> Result:
        standing = standings.get(result.configuration)
        if result.standing is None or standing is None:
            return result
        return replace(result, standing=standing, speedup=None if result.interrupted else standing.speedup)

    best = None if document.best is None else renewed(document.best)
    return replace(document, results=tuple(map(renewed, document.results)), best=best)


def _cost_of(result: Result) -> float | None:
    return None if result.standing is None else result.standing.cost


def _with_standing(result: Result, baseline: Result | None, objective: Objective) -> Result:
    """Return a result with its standing and its speedup; an interrupted one has none."""
    standing = result.standing
    if not result.succeeded:
        return replace(result, standing=None, speedup=None)
    if standing is None:
        cost = objective.cost(result)
        if cost is None:
            return replace(result, speedup=None)
        rate, steady = rate_of(result)
        standing = Standing(
            measurements=1,
            cost=cost,
            predicted_sec=objective.predicted_sec(result),
            rate=rate,
            steady=steady,
            speedup=_speedup(cost, baseline, objective),
        )
    if result.interrupted:
        return replace(result, standing=standing, speedup=None)
    return replace(result, standing=standing, speedup=standing.speedup)


def _speedup(cost: float, baseline: Result | None, objective: Objective) -> float | None:
    """Return the cost of the baseline over another; None where the baseline failed or was interrupted."""
    if baseline is None or not baseline.succeeded or baseline.interrupted:
        return None
    return ratio(objective.cost(baseline), cost)


def read_step(path: str | os.PathLike[str]) -> Document:
    """Read the document of a step.

    Args:
        path: Its file.

    Raises:
        TelemetryFormatError: The file is missing, unreadable, damaged, of another major version or something else.
    """
    return _read(path, STEP_KIND, "a result file of a sweep", Document.from_json)


def read_best(path: str | os.PathLike[str]) -> BestConfiguration:
    """Read the file of the recommended configuration.

    Args:
        path: The file.

    Raises:
        TelemetryFormatError: The file is missing, unreadable, damaged, of another major version or something else.
    """
    return _read(path, BEST_KIND, "a file of a best configuration", BestConfiguration.from_json)


def _read(
    path: str | os.PathLike[str], kind: str, what: str, from_json: Callable[[Mapping[str, Any]], _Record]
) -> _Record:
    document = read_json(path)
    if not isinstance(document, dict) or document.get("kind") != kind:
        raise TelemetryFormatError(f"{path} is not {what}")
    require_readable(document.get("schema_version"), str(path))
    try:
        return from_json(migrate_document(document))
    except TelemetryFormatError as error:
        raise TelemetryFormatError(f"{path} is not a whole result file: {error}") from None


def baseline_seconds(
    folder: Path, fingerprint: str, model_name: str | None, device: str, target: str = BUILTIN_TARGET
) -> float | None:
    """Return how long one pass of the baseline in a folder took, its start included.

    Args:
        folder: The folder of a sweep.
        fingerprint: Fingerprint of the workload that it must have run.
        model_name: Name of the model that the built-in target must have run; others have their own names for models.
        device: Device that it must have run on.
        target: Target that it must have run.

    Returns:
        Seconds; None if there is no such baseline, or it failed.
    """
    try:
        document = read_step(folder / "baseline.json")
    except TelemetryFormatError:
        return None
    found = document.conditions
    same = (
        found.workload.get("fingerprint") == fingerprint
        and found.knobs.target == target_name(target)
        and (found.model.get("model_name") == model_name or not found.knobs.is_builtin)
        and found.settings.get("device") == device
    )
    return _pass_seconds(document.results[0]) if same and document.results else None


def _pass_seconds(result: Result) -> float | None:
    if result.elapsed_sec is None or result.measured_sec is None or not result.passes:
        return result.elapsed_sec
    return result.elapsed_sec - result.measured_sec * (1 - 1 / result.passes)


def trial_paths(folder: Path, run_id: str) -> tuple[Path, Path]:
    """Return the paths of the telemetry file and of the whole run that a trial writes.

    Args:
        folder: Folder of the trial's files.
        run_id: Id of the run.
    """
    return folder / f"telemetry_{run_id}.json", folder / f"run_{run_id}.json"


def now() -> str:
    """Return the time in ISO 8601, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def relative_to(folder: Path, path: str | None) -> str | None:
    """Return `path` as seen from `folder`, so that a sweep's folder can be moved."""
    return None if path is None else os.path.relpath(path, folder)
