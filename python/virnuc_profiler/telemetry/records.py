# SPDX-License-Identifier: MIT
"""Frozen records of one run.

All times, including device times, are integers in ns on the host's monotonic clock (``time.monotonic_ns``). What was
not measured is ``None``, never 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

STAGES = ("fetch", "collate", "h2d", "forward", "pool", "d2h", "emit")
"""Stages of packed inference, in the order in which a batch passes through them."""

DEVICE_STAGES = ("h2d", "forward", "pool", "d2h")
"""Stages that run on a CUDA stream and therefore have a device interval too."""


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One stage of one batch.

    A device interval begins when the start event fires, which can be before the stage's first kernel arrives, so it
    includes launch gaps. A ``timestamped`` stage was timed by its own kernels instead, all of which one launch
    queued: its interval is exact.
    """

    name: str
    host_start_ns: int
    host_end_ns: int
    device_start_ns: int | None = None
    device_end_ns: int | None = None
    timestamped: bool = False

    @property
    def host_ns(self) -> int:
        """Duration on the host."""
        return self.host_end_ns - self.host_start_ns

    @property
    def device_ns(self) -> int | None:
        """Duration on the device; None if it was not measured."""
        if self.device_start_ns is None or self.device_end_ns is None:
            return None
        return self.device_end_ns - self.device_start_ns


@dataclass(frozen=True, slots=True)
class PackingRecord:
    """Content of one pack. Lengths are in tokens, BOS and EOS included."""

    sequences: int
    tokens: int
    min_length: int
    max_length: int
    sum_squared_lengths: int
    token_budget: int | None = None

    @property
    def mean_length(self) -> float:
        """Mean number of tokens per sequence."""
        return self.tokens / self.sequences if self.sequences else 0.0

    @property
    def oversize(self) -> bool:
        """Whether the pack is a single sequence that exceeds the token budget."""
        return self.token_budget is not None and self.tokens > self.token_budget

    @property
    def packing_efficiency(self) -> float | None:
        """Tokens divided by the budget in force, 0 to 1; None without a budget and for an oversize pack."""
        if self.token_budget is None or self.oversize:
            return None
        return self.tokens / self.token_budget

    @property
    def padding_tokens(self) -> int:
        """Number of padding tokens that a padded batch of the same sequences would have needed."""
        return self.sequences * self.max_length - self.tokens


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One batch. A stage may occur more than once, and stages may overlap."""

    index: int
    host_start_ns: int
    host_end_ns: int
    stages: tuple[StageRecord, ...] = ()
    packing: PackingRecord | None = None
    device_times_dropped: bool = False

    @property
    def host_ns(self) -> int:
        """Duration on the host, from the wait for data to the delivery of results."""
        return self.host_end_ns - self.host_start_ns


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One reading of NVML's cheap counters. Utilization is the share of time in which at least one kernel ran."""

    at_ns: int
    utilization_percent: int | None = None
    memory_utilization_percent: int | None = None
    power_mw: int | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_c: int | None = None
    throttle_reasons: int | None = None
    used_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class GpmReading:
    """Hardware activity, 0 to 1, averaged over the interval that ends at ``at_ns`` (Hopper and later)."""

    at_ns: int
    interval_ns: int
    sm_activity: float | None = None
    tensor_activity: float | None = None
    dram_activity: float | None = None


@dataclass(frozen=True, slots=True)
class EnergyReading:
    """One reading of the device's energy counter: millijoules since the driver was loaded."""

    at_ns: int
    energy_mj: int


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """Other processes on the device: their number, and the share of SM time that NVML attributes to them."""

    at_ns: int
    other_processes: int | None = None
    other_sm_percent: int | None = None


@dataclass(frozen=True, slots=True)
class SamplerTierRecord:
    """Statistics of one sampling tier; ``cpu_ns`` is the CPU time of its thread."""

    name: str
    interval_ms: float
    readings: int
    missed_deadlines: int
    errors: int
    stalled: bool
    unsupported: str
    cpu_ns: int | None = None


@dataclass(frozen=True, slots=True)
class GpuSamples:
    """All readings of one GPU during a run."""

    uuid: str
    fast: tuple[GpuReading, ...] = ()
    gpm: tuple[GpmReading, ...] = ()
    energy: tuple[EnergyReading, ...] = ()
    processes: tuple[ProcessReading, ...] = ()
    tiers: tuple[SamplerTierRecord, ...] = ()
    max_sm_clock_mhz: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceCapture:
    """The device of a run, and how much of its work was captured.

    Attributes:
        name: Name of the device, such as ``NVIDIA H200`` or ``cpu``.
        uuid: UUID of the GPU; None without a GPU.
        timed: Whether device times were captured.
        reason: Why device times were not captured, or why the capture ended early; empty if it was complete.
        dropped_batches: Number of batches whose device times are missing or incomplete.
        alignment_uncertainty_ns: Error bound of device times on the host's clock.
        sampling_reason: Why the GPU was not sampled; empty if it was.
        alignment_residual_ns: Largest distance of a clock comparison from the value that its neighbors predict; None
            with fewer than three comparisons.
        clock_drift_ppm: How much faster the device's clock ran than the host's, fitted over the run; None with fewer
            than two comparisons.
    """

    name: str
    uuid: str | None = None
    timed: bool = False
    reason: str = ""
    dropped_batches: int = 0
    alignment_uncertainty_ns: int | None = None
    sampling_reason: str = ""
    alignment_residual_ns: int | None = None
    clock_drift_ppm: float | None = None


@dataclass(frozen=True, slots=True)
class ProfilingCost:
    """Cost of profiling, measured during the run itself.

    Attributes:
        calls: Number of calls to the profiler: to begin a batch, mark a stage, and end a batch.
        timed_calls: Number of calls that were timed, about one in 31 to keep the cost of timing negligible. Calls that
            took over 0.1 ms are left out: they waited for a core or for the driver.
        timed_call_ns: Host time inside the timed calls. The transition from Python to the compiled core, some 50 ns a
            call, is not included.
        collector_cpu_ns: CPU time of the thread that collects device times; None without a device.
        sampling_cpu_ns: CPU time of the threads that sample NVML; None without sampling.
    """

    calls: int
    timed_calls: int
    timed_call_ns: int
    collector_cpu_ns: int | None = None
    sampling_cpu_ns: int | None = None

    @property
    def mean_call_ns(self) -> float | None:
        """Mean host time of one call; None if no call was timed."""
        return self.timed_call_ns / self.timed_calls if self.timed_calls else None

    @property
    def host_ns(self) -> float | None:
        """Host time that the loop spent in the profiler; None if no call was timed."""
        mean = self.mean_call_ns
        return None if mean is None else mean * self.calls


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
