# SPDX-License-Identifier: MIT
"""Watch what the host does to a run: stops, and waits for CPU time."""

from __future__ import annotations

from typing import Final

from virnuc_profiler import _core
from virnuc_profiler.capture.cpu_limits import CpuCounters, cpu_counters, cpu_limits
from virnuc_profiler.telemetry.records import DESCENDANT, MACHINE, PROCESS, HostCapture, StopRecord

_STOPPED: Final = (PROCESS, DESCENDANT, MACHINE)
"""What was stopped, by the number that the compiled core gives it."""


class HostWatch:
    """Watches the host from its construction until :meth:`stop`."""

    def __init__(self) -> None:
        self._before = cpu_counters()
        self._after: CpuCounters | None = None
        self._detector = _core.StopDetector()
        self._detector.start()

    def stop(self) -> None:
        """End the watch. May be called again."""
        if self._after is None:
            self._after = cpu_counters()
        self._detector.stop()

    def stopped_ns(self) -> int:
        """Return for how long this process or one that it has started was stopped so far."""
        return self._detector.stopped_ns()

    def stops(self) -> tuple[StopRecord, ...]:
        """Return the stops so far, in the order in which they ended."""
        return tuple(
            StopRecord(int(start), int(end), _STOPPED[int(what)], int(pid) or None, int(suspended))
            for start, end, suspended, pid, what in self._detector.stops().tolist()
        )

    def capture(self) -> HostCapture:
        """Return the CPU time that the run could use, and how often it had to wait for it."""
        limits, after = cpu_limits(), self._after or cpu_counters()
        periods, throttled, throttled_ns = after.throttled_since(self._before) or (None, None, None)
        pressure = (self._before.pressure_ns, after.pressure_ns)
        return HostCapture(
            usable_cores=limits.usable_cores,
            quota_cores=limits.quota_cores,
            quota_periods=periods,
            throttled_periods=throttled,
            throttled_ns=throttled_ns,
            pressure_ns=None if pressure[0] is None or pressure[1] is None else pressure[1] - pressure[0],
            watch_cpu_ns=self._detector.cpu_ns(),
        )
