# SPDX-License-Identifier: MIT
"""A side of a comparison from the paths that name it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from virnuc_profiler.analysis.comparison.measured_run import MeasuredRun, Side
from virnuc_profiler.errors import UsageError
from virnuc_profiler.reports.comparison.run_source import read_run
from virnuc_profiler.reports.comparison.sweep_source import is_sweep, read_sweep
from virnuc_profiler.sweep.plan.steps import BEST_CONFIG_FILE, STEPS
from virnuc_profiler.sweep.results.journal import JOURNAL_FILE
from virnuc_profiler.telemetry.values import printable

_OF_SWEEPS: Final = (JOURNAL_FILE, BEST_CONFIG_FILE, *(step.file_name for step in STEPS))


def read_side(paths: Sequence[Path]) -> Side:
    """Read one side of a comparison; several paths are repeats.

    A folder stands for its sweep, else for the sweeps in its subfolders, else for all saved runs in it, else for all
    telemetry files in it. Runs that a later run of the same name has moved aside do not count.

    Args:
        paths: Telemetry files, saved runs, folders of sweeps, or folders of runs.

    Raises:
        UsageError: A path does not exist, is named twice or holds nothing, or sweeps and runs are mixed.
        TelemetryFormatError: A file cannot be read.
    """
    found = [one for path in paths for one in _expand(path)]
    resolved = [path.resolve() for path in found]
    for place, path in enumerate(found):
        if resolved[place] in resolved[:place]:
            raise UsageError(f"{path} is given twice on one side; each run counts once")
    sweeps = [path for path in found if path.is_dir()]
    if sweeps and len(sweeps) < len(found):
        runs = next(path for path in found if path not in sweeps)
        raise UsageError(f"{sweeps[0]} is a sweep and {runs} a run; repeats on one side must be of one kind")
    name = printable(str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more")
    if not sweeps:
        return Side(name=name, runs=tuple(map(read_run, found)))
    sides = [read_sweep(path) for path in sweeps]
    runs_of_all: tuple[MeasuredRun, ...] = tuple(run for side in sides for run in side.runs)
    chosen = [side.recommended for side in sides]
    agreed = chosen[0] if all(one == chosen[0] for one in chosen) else None
    return Side(name=name, runs=runs_of_all, is_sweep=True, recommended=agreed)


def _expand(path: Path) -> list[Path]:
    """Return the sweeps or the files of runs that a path stands for."""
    if not path.exists():
        raise UsageError(f"{path} does not exist; give telemetry files, saved runs, or folders of sweeps or runs")
    if not path.is_dir():
        if path.name in _OF_SWEEPS:
            raise UsageError(f"{path} is a file of a sweep; give its folder, {path.parent}")
        return [path]
    if is_sweep(path):
        return [path]
    if sweeps := sorted(folder for folder in path.rglob("*") if folder.is_dir() and is_sweep(folder)):
        return sweeps
    for pattern in ("run_*.json", "telemetry_*.json"):
        if runs := [one for one in sorted(path.rglob(pattern)) if ".earlier-" not in one.name]:
            return runs
    raise UsageError(f"{path} holds no sweep and no run; runs are named run_*.json or telemetry_*.json")
