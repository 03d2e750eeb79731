# SPDX-License-Identifier: MIT
"""Records of what the host did to a run: when it was stopped, and how much CPU time it could use.

What was not measured is ``None``, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

PROCESS: Final = "process"
"""The process itself was stopped: by SIGSTOP, a debugger, or a frozen control group."""
DESCENDANT: Final = "descendant"
"""Another process that it has started, such as a DataLoader worker, was stopped by a signal or a debugger."""
MACHINE: Final = "machine"
"""The machine slept, during which the monotonic clock stands still."""


@dataclass(frozen=True, slots=True)
class StopRecord:
    """A time during which a run could not go on.

    Attributes:
        start_ns: Start on the host's monotonic clock.
        end_ns: End on the host's monotonic clock; the start if the machine slept.
        what: What was stopped: ``process``, ``descendant`` or ``machine``.
        pid: Process id of what was stopped; None for the machine.
        suspended_ns: Time that the machine slept, which is not between start and end.
    """

    start_ns: int
    end_ns: int
    what: str
    pid: int | None = None
    suspended_ns: int = 0


@dataclass(frozen=True, slots=True)
class HostCapture:
    """The CPU time that a run could use, and how often it had to wait for it.

    Attributes:
        usable_cores: Cores that the process could use, by affinity and quota.
        quota_cores: Seconds of CPU time per second that its control groups grant; None without a quota.
        quota_periods: Number of periods of the quota during the run; None without a control group that counts them.
        throttled_periods: Number of these periods in which the quota was used up, so that threads had to wait.
        throttled_ns: Time that threads waited for the next period, summed over cores.
        pressure_ns: Time in which a thread of the control group, or of the machine, was ready but waited for a core.
        watch_cpu_ns: CPU time of the thread that notices stops; None if the run was not watched.
    """

    usable_cores: float | None = None
    quota_cores: float | None = None
    quota_periods: int | None = None
    throttled_periods: int | None = None
    throttled_ns: int | None = None
    pressure_ns: int | None = None
    watch_cpu_ns: int | None = None

    @property
    def throttled_fraction(self) -> float | None:
        """Share of the quota's periods in which it was used up, 0 to 1; None if no period was counted."""
        if not self.quota_periods or self.throttled_periods is None:
            return None
        return self.throttled_periods / self.quota_periods


def stopped_ns(stops: Sequence[StopRecord], start_ns: int, end_ns: int) -> int:
    """Return for how long anything was stopped within a window of the monotonic clock; overlaps count once.

    Args:
        stops: Stops of a run, in any order.
        start_ns: Start of the window.
        end_ns: End of the window.
    """
    total, covered = 0, start_ns
    for stop in sorted(stops, key=lambda one: one.start_ns):
        total += max(0, min(stop.end_ns, end_ns) - max(stop.start_ns, covered))
        covered = max(covered, min(stop.end_ns, end_ns))
    return total


def suspended_ns(stops: Sequence[StopRecord]) -> int:
    """Return for how long the machine slept.

    Args:
        stops: Stops of a run.
    """
    return sum(stop.suspended_ns for stop in stops)
