# SPDX-License-Identifier: MIT
"""What one run leaves behind, as frozen records.

Times are integers in ns on the host's monotonic clock (``time.monotonic_ns``), device times too. What was not
measured is ``None``, never 0.
"""

from dataclasses import dataclass

STAGES = ("fetch", "collate", "h2d", "forward", "pool", "d2h", "emit")
"""The stages of packed inference, in the order of a batch's life."""

DEVICE_STAGES = ("h2d", "forward", "pool", "d2h")
"""Those that run on a CUDA stream and so have a device interval too."""


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One stage of one batch.

    A device interval starts when the start event fires, which can be before the stage's first kernel arrives: it
    includes launch gaps.
    """

    name: str
    host_start_ns: int
    host_end_ns: int
    device_start_ns: int | None = None
    device_end_ns: int | None = None

    @property
    def host_ns(self) -> int:
        """Duration on the host."""
        return self.host_end_ns - self.host_start_ns

    @property
    def device_ns(self) -> int | None:
        """Duration on the device, where it was measured."""
        if self.device_start_ns is None or self.device_end_ns is None:
            return None
        return self.device_end_ns - self.device_start_ns


@dataclass(frozen=True, slots=True)
class PackingRecord:
    """What one pack held. Lengths are in tokens, BOS and EOS included."""

    sequences: int
    tokens: int
    min_length: int
    max_length: int
    sum_squared_lengths: int
    token_budget: int | None = None

    @property
    def mean_length(self) -> float:
        """Tokens per sequence."""
        return self.tokens / self.sequences if self.sequences else 0.0

    @property
    def oversize(self) -> bool:
        """More tokens than the budget: a single sequence that no pack of this budget can hold."""
        return self.token_budget is not None and self.tokens > self.token_budget

    @property
    def packing_efficiency(self) -> float | None:
        """Tokens over the budget in force, 0 to 1; None without a budget and for an oversize pack."""
        if self.token_budget is None or self.oversize:
            return None
        return self.tokens / self.token_budget

    @property
    def padding_tokens(self) -> int:
        """Tokens that a padded batch of the same sequences would have wasted."""
        return self.sequences * self.max_length - self.tokens


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One batch: a stage may occur more than once, and stages may overlap."""

    index: int
    host_start_ns: int
    host_end_ns: int
    stages: tuple[StageRecord, ...] = ()
    packing: PackingRecord | None = None
    device_times_dropped: bool = False

    @property
    def host_ns(self) -> int:
        """Duration on the host, from the wait for data to the hand-over of results."""
        return self.host_end_ns - self.host_start_ns


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One reading of NVML's cheap counters. Utilization: share of time in which any kernel ran."""

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
    """The device's total energy counter, millijoules since the driver was loaded."""

    at_ns: int
    energy_mj: int


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """Who else uses the device: processes other than this one, and the share of SM time that NVML says they took."""

    at_ns: int
    other_processes: int | None = None
    other_sm_percent: int | None = None


@dataclass(frozen=True, slots=True)
class SamplerTierRecord:
    """How one tier of sampling went; ``cpu_ns`` is the CPU time that its thread took."""

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
    """All that was sampled of one GPU during a run."""

    uuid: str
    fast: tuple[GpuReading, ...] = ()
    gpm: tuple[GpmReading, ...] = ()
    energy: tuple[EnergyReading, ...] = ()
    processes: tuple[ProcessReading, ...] = ()
    tiers: tuple[SamplerTierRecord, ...] = ()
    max_sm_clock_mhz: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceCapture:
    """What was captured of the device, or why nothing was.

    Attributes:
        name: the device, e.g. ``NVIDIA H200`` or ``cpu``.
        uuid: its UUID; None without a GPU.
        timed: whether device times were taken.
        reason: why not, or why they ended early; empty if they were taken to the end.
        dropped_batches: batches that have no device times, or not all of them.
        alignment_uncertainty_ns: error bar of device times on the host's axis.
        alignment_residual_ns: the furthest that a comparison of the clocks lay from what its neighbors predict; None
            with fewer than three.
        clock_drift_ppm: how much faster the device's clock ran than the host's, fitted over the whole run; None with
            fewer than two comparisons.
        sampling_reason: why the GPU was not sampled; empty if it was.
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
    """What profiling cost in one run, measured in it.

    Attributes:
        calls: how often the loop called the profiler: to begin a batch, to mark a stage, to end it.
        timed_calls: how many of these were timed (one in 31 or so, so that timing costs nothing one can see).
        timed_call_ns: host time inside those, without the way from Python into the compiled core (some 50 ns each).
        harvest_cpu_ns: CPU time of the thread that collects device times; None without a device.
        sampling_cpu_ns: CPU time of the threads that sample NVML; None without sampling.
    """

    calls: int
    timed_calls: int
    timed_call_ns: int
    harvest_cpu_ns: int | None = None
    sampling_cpu_ns: int | None = None

    @property
    def mean_call_ns(self) -> float | None:
        """Host time of one call; None if none was timed."""
        return self.timed_call_ns / self.timed_calls if self.timed_calls else None

    @property
    def host_ns(self) -> float | None:
        """Host time that the loop spent in the profiler; None if no call was timed."""
        mean = self.mean_call_ns
        return None if mean is None else mean * self.calls
