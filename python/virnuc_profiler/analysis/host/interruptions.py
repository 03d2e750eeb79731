# SPDX-License-Identifier: MIT
"""Whether a run was interrupted: by a signal, a debugger, a frozen control group, or a machine that slept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from virnuc_profiler.telemetry.records import DESCENDANT, PROCESS
from virnuc_profiler.telemetry.run_result import RunResult

INTERRUPTED_SHARE: Final = 0.01
"""A run counts as interrupted if it was stopped for a larger share of its time. Less changes rates by no more than
repeated runs differ. A machine that slept always counts: its devices and caches restart cold."""

_NAMES: Final = {PROCESS: "this process", DESCENDANT: "a process that it has started"}


def was_interrupted(run: RunResult) -> bool:
    """Return whether the rates of a run say nothing because it was stopped; False if that was not watched.

    Args:
        run: Run to judge.
    """
    return interrupts(run.stopped_s, run.suspended_s, run.elapsed_s)


def summary_interrupted(summary: Mapping[str, Any]) -> bool:
    """Return what :func:`was_interrupted` returns, from a telemetry summary.

    Args:
        summary: Telemetry summary of a run.
    """
    return interrupts(*(summary.get(f"{name}_seconds") for name in ("stopped", "suspended", "elapsed")))


def interrupts(stopped_s: float | None, suspended_s: float | None, elapsed_s: float | None) -> bool:
    """Return whether stops change the rates of a run.

    Args:
        stopped_s: Seconds in which the run was stopped; None if that was not watched.
        suspended_s: Seconds in which the machine slept; None if that was not watched.
        elapsed_s: Seconds of the run; None if unknown, so that every stop counts.
    """
    return bool(suspended_s) or (stopped_s or 0.0) > INTERRUPTED_SHARE * (elapsed_s or 0.0)


def interruption_sentence(run: RunResult) -> str | None:
    """Return a warning about the stops of a run; None if it was not interrupted.

    Args:
        run: Run to describe.
    """
    if not was_interrupted(run):
        return None
    parts = []
    if run.stopped_s:
        kinds = dict.fromkeys(_NAMES[stop.what] for stop in run.stops or () if stop.what in _NAMES)
        times = f"{run.stopped_s:.1f} of {run.elapsed_s:.1f} s"
        parts.append(f"{' and '.join(kinds)} stood still for {times}, which the rates include")
    if run.suspended_s:
        parts.append(f"the machine slept for {run.suspended_s:,.1f} s")
    return f"The run was interrupted: {'; '.join(parts)}. Measure again."
