# SPDX-License-Identifier: MIT
"""Convert what the compiled core recorded into a :class:`RunResult`."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler import _core
from virnuc_profiler.capture.host_watch import HostWatch
from virnuc_profiler.capture.target import Target
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.parts.start_up_records import StartUpRecord
from virnuc_profiler.telemetry.records import (
    DeviceCapture,
    EnergyReading,
    GpmReading,
    GpuReading,
    GpuSamples,
    ProcessReading,
    ProfilingCost,
    SamplerTierRecord,
)
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED


def assemble_run(
    timeline: _core.Timeline,
    target: Target,
    samples: GpuSamples | None,
    *,
    run_id: str,
    started_at: str,
    host_start_ns: int,
    host_end_ns: int,
    metadata: Mapping[str, Any],
    sampling_reason: str,
    host: HostWatch | None = None,
    start_up: StartUpRecord | None = None,
) -> RunResult:
    """Build the result of a stopped timeline.

    The run lasts until its last device interval ends. A loop that never waits for the device ends earlier than its
    work, and rates over the loop alone would be too high.

    Args:
        timeline: Stopped timeline that holds the batches and stages.
        target: Device that the run measured.
        samples: GPU readings taken during the run. None if the GPU was not sampled.
        run_id: Name of the run.
        started_at: Start of the run in ISO 8601, UTC.
        host_start_ns: Start of the run on the monotonic host clock, in nanoseconds.
        host_end_ns: End of the loop on the monotonic host clock, in nanoseconds.
        metadata: JSON-serializable values to keep with the result.
        sampling_reason: Reason why the GPU was not sampled. Empty if it was.
        host: Ended watch of the host. None if the host was not watched.
        start_up: What was noted of the run's start-up. None if nothing was.
    """
    stages = timeline.stages()
    device_ends = stages["device_end_ns"]
    last_device_end = int(device_ends.max()) if len(device_ends) else NOT_MEASURED
    return RunResult(
        run_id=run_id,
        started_at=started_at,
        host_start_ns=host_start_ns,
        host_end_ns=max(host_end_ns, last_device_end),
        stage_names=tuple(timeline.stage_names),
        batches=BatchTable(timeline.stage_names, timeline.batches(), stages),
        device=_device_capture(timeline, target, sampling_reason),
        gpu=samples,
        metadata=metadata,
        cost=_profiling_cost(timeline, samples),
        host=None if host is None else host.capture(),
        stops=None if host is None else host.stops(),
        start_up=start_up,
    )


def collect_samples(sampler: _core.GpuSampler | None, target: Target) -> GpuSamples | None:
    """Convert the readings of a stopped sampler into records; None without a sampler."""
    if sampler is None or target.uuid is None:
        return None
    return GpuSamples(
        uuid=target.uuid,
        fast=tuple(GpuReading(**row) for row in table_rows(sampler.fast_readings())),
        gpm=tuple(GpmReading(**row) for row in table_rows(sampler.gpm_readings())),
        energy=tuple(EnergyReading(**row) for row in table_rows(sampler.energy_readings())),
        processes=tuple(ProcessReading(**row) for row in table_rows(sampler.process_readings())),
        max_sm_clock_mhz=sampler.max_sm_clock_mhz,
        tiers=tuple(
            SamplerTierRecord(
                name=tier.name,
                interval_ms=tier.interval_ms,
                readings=tier.readings,
                missed_deadlines=tier.missed_deadlines,
                errors=tier.errors,
                stalled=tier.stalled,
                unsupported=tier.unsupported,
                cpu_ns=tier.cpu_ns,
            )
            for tier in sampler.tiers()
        ),
    )


def _device_capture(timeline: _core.Timeline, target: Target, sampling_reason: str) -> DeviceCapture:
    timed = target.ordinal is not None
    alignment = timeline.alignment
    reason = timeline.device_error or ("" if timed else target.reason or "the run is on the CPU")
    return DeviceCapture(
        name=target.name,
        uuid=target.uuid,
        timed=timed,
        reason=reason,
        dropped_batches=timeline.dropped_batches,
        sampling_reason=sampling_reason,
        alignment_uncertainty_ns=None if alignment is None else alignment.uncertainty_ns,
        alignment_residual_ns=None if alignment is None else alignment.residual_ns,
        clock_drift_ppm=None if alignment is None else alignment.drift_ppm,
    )


def _profiling_cost(timeline: _core.Timeline, samples: GpuSamples | None) -> ProfilingCost:
    sampling = [tier.cpu_ns for tier in samples.tiers] if samples is not None else []
    return ProfilingCost(
        calls=timeline.profiler_calls,
        timed_calls=timeline.timed_calls,
        timed_call_ns=timeline.timed_call_ns,
        collector_cpu_ns=timeline.collector_cpu_ns,
        sampling_cpu_ns=sum(ns for ns in sampling if ns is not None) if sampling else None,
    )


def table_rows(table: NDArray[np.void]) -> list[dict[str, Any]]:
    """Convert each row to a dict, with None for values that were not measured."""
    names = table.dtype.names or ()
    return [{name: _value(value) for name, value in zip(names, row, strict=True)} for row in table.tolist()]


def _value(value: float) -> int | float | None:
    if value == NOT_MEASURED or (isinstance(value, float) and math.isnan(value)):
        return None
    return value
