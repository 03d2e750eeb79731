# SPDX-License-Identifier: MIT
"""Run a GPU sampler while the device goes through phases of different load."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.thread_cpu import cpu_seconds, thread_ids
from virnuc_profiler import _core

SETTLING_S: Final = 2.0
"""Seconds excluded at the start of a phase, because NVML's power and utilization are averages over the last second."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A period with one load. `tflops` is the rate that the load reports."""

    name: str
    start_ns: int
    end_ns: int
    tflops: float | None

    @property
    def settled_ns(self) -> int:
        """Return when averages no longer include the phase before; in a very short phase, its middle."""
        return self.start_ns + min(int(SETTLING_S * 1e9), (self.end_ns - self.start_ns) // 2)


class SampledPhases:
    """Start a sampler on entry; stop it and collect its readings on exit.

    Attributes:
        phases: Phases that ran.
        fast, gpm, energy: Readings of each tier.
        seconds: How long the sampler ran.
        threads_cpu_s: CPU time of its threads in that time, as Linux counts it.
    """

    def __init__(self, sampler: _core.GpuSampler, title: str) -> None:
        self.sampler = sampler
        self.title = title
        self.phases: list[Phase] = []

    def __enter__(self) -> SampledPhases:
        others = thread_ids()
        self._started = time.perf_counter()
        self.sampler.start()
        self._threads = thread_ids() - others
        return self

    def __exit__(self, *exception: object) -> None:
        self.threads_cpu_s = cpu_seconds(self._threads)
        self.seconds = time.perf_counter() - self._started
        self.sampler.stop(5.0)
        self.fast = self.sampler.fast_readings()
        self.gpm = self.sampler.gpm_readings()
        self.energy = self.sampler.energy_readings()

    def run(self, name: str, seconds: float, work: Callable[[float], float | None]) -> None:
        """Work for this many seconds as a phase."""
        print(f"{self.title}: {name}, {seconds:g} s", flush=True)
        start_ns = _core.monotonic_ns()
        tflops = work(seconds)
        self.phases.append(Phase(name, start_ns, _core.monotonic_ns(), tflops))

    def phase(self, name: str) -> Phase:
        """Return the phase of that name."""
        return next(phase for phase in self.phases if phase.name == name)


def fast_tier_alone(uuid: str) -> _core.GpuSampler:
    """Make a sampler with all tiers off except the fast one."""
    others = [tier.name for tier in _core.GpuSampler(uuid).tiers() if tier.name != "fast"]
    off: dict[str, Any] = {f"{name}_interval_ms": 0.0 for name in others}
    return _core.GpuSampler(uuid, **off)
