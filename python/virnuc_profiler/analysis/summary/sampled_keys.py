# SPDX-License-Identifier: MIT
"""Keys of the telemetry summary that come from samples of the GPU, each with its coverage.

``sampling_coverage`` holds the coverage of every key that was sampled, under the name of the key. What too little of
the run was seen for is null there, as the rule in ``analysis/gpu/coverage.py`` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from virnuc_profiler.analysis.gpu.activity import (
    energy_during,
    peak_power_during,
    sampled_activity,
    utilization_during,
)
from virnuc_profiler.analysis.gpu.coverage import Coverage, Sampled
from virnuc_profiler.analysis.gpu.throttling import ThrottleTimeline, throttled_batches, throttled_seconds
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.records import GpuSamples
from virnuc_profiler.telemetry.run_result import RunResult

UTILIZATION: Final = "avg_gpu_util"
COVERAGE: Final = "sampling_coverage"
"""Summary key of the coverage of all sampled keys."""

_MAX_MISSING_READINGS: Final = 5
"""Number of readings that may be missing at the end of a run, because a busy machine delays them."""


def sampled_keys(run: RunResult) -> dict[str, Any]:
    """Return the summary keys that come from samples of the GPU; no keys if it was not sampled.

    Args:
        run: Run to summarize.
    """
    if run.gpu is None:
        return {}
    window = (run.host_start_ns, run.host_end_ns)
    utilization = utilization_during(window, run.gpu)
    timeline = ThrottleTimeline(run.gpu)
    throttling = timeline.coverage(window)
    peak_power = peak_power_during(window, run.gpu)
    activities = {
        f"mean_{unit}_activity": sampled_activity(window, run.gpu.gpm, f"{unit}_activity")
        for unit in ("sm", "tensor", "dram")
    }
    energy, coverage_of_energy = _energy_keys(run, run.gpu)
    found = {UTILIZATION: utilization, "peak_power_watts": peak_power, **activities}
    keys: dict[str, Any] = {name: sampled.value for name, sampled in found.items()}
    if utilization.coverage is None:
        del keys[UTILIZATION]  # null would replace the values that the batches have from elsewhere
    coverage = {
        **{name: sampled.coverage for name, sampled in found.items()},
        "energy_joules": coverage_of_energy,
        "throttled_seconds": throttling if throttling.readings else None,
    }
    lost_after = sampling_lost_after(run)
    return {
        **keys,
        **({} if lost_after is None else {"gpu_sampling_lost_after_seconds": lost_after}),
        **energy,
        "throttled_seconds": throttled_seconds(timeline, window),
        "throttled_batches": throttled_batches(timeline, run.batches) if throttling.sufficient else None,
        COVERAGE: {name: each.to_json() for name, each in coverage.items() if each is not None},
    }


def _energy_keys(run: RunResult, gpu: GpuSamples) -> tuple[dict[str, float | None], Coverage | None]:
    energy = energy_during((run.host_start_ns, run.host_end_ns), gpu.energy)
    power = ratio(energy.joules, energy.seconds)
    counted = run.batches.all_packed  # else some batches would be charged for the energy of all
    whole = power * run.elapsed_s if power is not None and counted else None
    keys = {
        "energy_joules": energy.joules,
        "energy_seconds": energy.seconds,
        "mean_power_watts": power,
        "joules_per_sequence": ratio(whole, run.total_sequences),
        "joules_per_1000_tokens": ratio(None if whole is None else 1e3 * whole, run.total_tokens),
    }
    return keys, energy.coverage


def sampling_lost_after(run: RunResult) -> float | None:
    """Return the seconds after which GPU sampling failed for the rest of the run; None if it did not fail.

    Reloading the driver, or a GPU that falls off the bus, makes NVML unavailable in the middle of a run.

    Args:
        run: Run to check.
    """
    tier = None if run.gpu is None else next((tier for tier in run.gpu.tiers if tier.name == "fast"), None)
    if run.gpu is None or tier is None or not (tier.errors or tier.stalled):
        return None
    times = [reading.at_ns for reading in run.gpu.fast if reading.utilization_percent is not None]
    last_ns = max(times, default=run.host_start_ns)
    if run.host_end_ns - last_ns <= _MAX_MISSING_READINGS * tier.interval_ms * 1e6:
        return None
    return max(0, last_ns - run.host_start_ns) / 1e9


def summary_coverage(summary: Mapping[str, Any], key: str) -> Coverage | None:
    """Return the coverage of a sampled key of a telemetry summary; None if it is unknown.

    Args:
        summary: Telemetry summary.
        key: Key of the summary that may have been sampled.
    """
    found = summary.get(COVERAGE)
    return Coverage.from_json(found.get(key)) if isinstance(found, Mapping) else None


def sampled_value(summary: Mapping[str, Any], key: str) -> Sampled:
    """Return a sampled key of a telemetry summary with its coverage.

    Args:
        summary: Telemetry summary.
        key: Key of the summary that may have been sampled.
    """
    return Sampled(summary.get(key), summary_coverage(summary, key))
