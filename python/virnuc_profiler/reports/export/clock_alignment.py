# SPDX-License-Identifier: MIT
"""One clock for the runs of several ranks.

Processes of one machine share the monotonic clock, to the ns. Runs of several machines are aligned by the time of day
at their start, which has a resolution of a millisecond and is as good as the machines' time synchronization.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from virnuc_profiler.telemetry.run_result import RunResult

MAX_OFFSET_DIFFERENCE_NS: Final = 100_000_000
"""Processes that started at other times since the boot of their machine differ by more; the time of day of one machine
is corrected by less during a job."""

_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Alignment:
    """How the clocks of some runs were brought together.

    Attributes:
        later_ns: Time to add to the times of each run, ns.
        wall_offset_ns: Time of day, ns since 1970 in UTC, at 0 on the common clock; None if it is unknown.
        statement: How good it is, in words.
    """

    later_ns: Sequence[int]
    wall_offset_ns: int | None
    statement: str


def align_clocks(runs: Sequence[RunResult]) -> Alignment:
    """Return how to bring the times of runs to the clock of the first one.

    Args:
        runs: At least one run.
    """
    offsets = [_wall_offset_ns(run) for run in runs]
    first = offsets[0]
    later, by_time_of_day, unknown = [0], 0, 0
    for run, offset in zip(runs[1:], offsets[1:], strict=True):
        if first is None or offset is None:
            later.append(0)
            unknown += 1
        elif abs(offset - first) <= MAX_OFFSET_DIFFERENCE_NS and _host(run) == _host(runs[0]):
            later.append(0)
        else:
            later.append(offset - first)
            by_time_of_day += 1
    return Alignment(later, first, _statement(len(runs), by_time_of_day, unknown))


def _statement(runs: int, by_time_of_day: int, unknown: int) -> str:
    if unknown:
        return "the start of a run says no time of day, so that its clock could not be compared with the others"
    if by_time_of_day:
        return (
            f"{by_time_of_day} of {runs} runs are of other machines than the first; they are aligned by the time of "
            "day, to about a millisecond at best"
        )
    return "one clock" if runs == 1 else "all runs are of one machine, and share its monotonic clock"


def _wall_offset_ns(run: RunResult) -> int | None:
    try:
        started = datetime.fromisoformat(run.started_at.replace("Z", "+00:00"))
    except ValueError:
        return None
    if started.tzinfo is None:
        return None
    since = started - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000) * _MS - run.host_start_ns


def _host(run: RunResult) -> Any:
    hardware = run.metadata.get("hardware")
    return hardware.get("hostname") if isinstance(hardware, Mapping) else None
