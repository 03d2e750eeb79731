# SPDX-License-Identifier: MIT
"""Compare runs from Python, in memory or from files, as ``virnuc-profiler compare`` does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import TypeAlias

from virnuc_profiler.analysis.comparison.compared import Compared
from virnuc_profiler.analysis.comparison.effects import Rule
from virnuc_profiler.analysis.comparison.measured_run import Side
from virnuc_profiler.analysis.comparison.sides import compare_sides
from virnuc_profiler.errors import UsageError
from virnuc_profiler.reports.comparison.run_source import run_of
from virnuc_profiler.reports.comparison.sources import read_side
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.values import printable

ComparedSide: TypeAlias = "RunResult | str | os.PathLike[str] | Iterable[RunResult] | Iterable[str | os.PathLike[str]]"
"""A run in memory, a path that ``compare`` takes, or repeats: several runs, or several paths."""


def compare_runs(
    reference: ComparedSide,
    candidate: ComparedSide,
    *,
    threshold: float = 0.02,
    run_noise: float = 0.0,
    anyway: bool = False,
) -> Compared:
    """Tell whether one run, or set of repeated runs, is faster than another.

    Args:
        reference: What is compared with: a run, or the path of a telemetry file, of a saved run, or of a folder of
            runs or a sweep. A list holds repeats.
        candidate: What is judged, likewise.
        threshold: Smallest difference that matters, as a share, such as 0.02.
        run_noise: Standard deviation from run to run, as a share, if you know it; for comparisons of one run each.
        anyway: Whether to compare what cannot sensibly be compared, with a warning.

    Returns:
        The verdicts; ``render_comparison`` makes the text that ``compare`` prints, and ``to_json()`` its JSON.

    Raises:
        UsageError: There is nothing to compare, or the comparison would say nothing and `anyway` is false.
        TelemetryFormatError: A file cannot be read.
        ValueError: `threshold` or `run_noise` is below 0 or above 0.5.
    """
    for name, value in (("threshold", threshold), ("run_noise", run_noise)):
        if not 0 <= value <= 0.5:
            raise ValueError(f"{name} is {value!r}; it must be a share from 0 to 0.5, such as 0.02 for 2 %")
    before, after = _parts(reference, "reference"), _parts(candidate, "candidate")
    shared = {id(part) for part in before} & {id(part) for part in after}
    sides = _side(before, "reference", shared), _side(after, "candidate", shared)
    return compare_sides(*sides, Rule(threshold=threshold, run_noise=run_noise), anyway=anyway)


def _parts(given: ComparedSide, role: str) -> Sequence[RunResult | str | os.PathLike[str]]:
    parts = [given] if isinstance(given, RunResult | str | os.PathLike) else list(given)
    if not parts:
        raise UsageError(f"the {role} has no runs: give at least one")
    return parts


def _side(parts: Sequence[RunResult | str | os.PathLike[str]], role: str, shared: Set[int]) -> Side:
    """Read one side.

    Args:
        parts: Its runs, or their paths.
        role: Its name in messages.
        shared: Identities of the runs that are on both sides; all others may share their names by chance.
    """
    runs = [part for part in parts if isinstance(part, RunResult)]
    if not runs:
        return read_side([Path(part) for part in parts if not isinstance(part, RunResult)])
    if len(runs) < len(parts):
        raise UsageError(f"the {role} has runs in memory and paths: give one kind, such as run.save(path) for all")
    if len(set(map(id, runs))) < len(runs):
        raise UsageError(f"the {role} has the same run twice; each run counts once")
    name = f"run {printable(runs[0].run_id)}" + (f" and {len(runs) - 1} more" if len(runs) > 1 else "")
    sources = [f"run {run.run_id}" if id(run) in shared else f"{role} run {run.run_id}" for run in runs]
    return Side(name=name, runs=tuple(map(run_of, runs, sources)))
