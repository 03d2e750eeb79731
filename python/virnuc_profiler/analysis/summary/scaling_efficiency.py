# SPDX-License-Identifier: MIT
"""How well a job scales from one GPU to several."""

from __future__ import annotations

import math

REQUIRED_EFFICIENCY_PERCENT = 95.0
"""Minimum scaling efficiency of requirement PERF-03."""

_ROUNDING = 1e-9
"""Tolerance for rounding: 100 s on one GPU and 100 / (4 * 0.95) s on four count as 95 %."""


def calculate_scaling_efficiency(
    baseline_runtime: float, multi_gpu_runtime: float, num_gpus: int
) -> dict[str, float | bool]:
    """Compare a run on several GPUs with the same job on one GPU.

    Args:
        baseline_runtime: Seconds on one GPU.
        multi_gpu_runtime: Seconds on `num_gpus` GPUs.
        num_gpus: Number of GPUs.

    Returns:
        ``speedup``, ``efficiency`` (percent of a speedup of `num_gpus`), ``ideal_runtime`` in seconds,
        ``overhead_seconds`` (beyond the ideal; negative if the run was faster) and ``meets_perf03`` (whether the
        efficiency is 95 % or more).

    Raises:
        ValueError: A runtime is not a finite number above 0, or `num_gpus` is not a whole number of 1 or more.
    """
    for name, runtime in (("baseline_runtime", baseline_runtime), ("multi_gpu_runtime", multi_gpu_runtime)):
        if isinstance(runtime, bool) or not math.isfinite(runtime) or runtime <= 0:
            raise ValueError(f"{name} is {runtime}; it must be a number of seconds above 0")
    if isinstance(num_gpus, bool) or not math.isfinite(num_gpus) or num_gpus % 1 or num_gpus < 1:
        raise ValueError(f"num_gpus is {num_gpus}; it must be a whole number of 1 or more")
    speedup = baseline_runtime / multi_gpu_runtime
    efficiency = 100 * speedup / num_gpus
    ideal_runtime = baseline_runtime / num_gpus
    return {
        "speedup": speedup,
        "efficiency": efficiency,
        "ideal_runtime": ideal_runtime,
        "overhead_seconds": multi_gpu_runtime - ideal_runtime,
        "meets_perf03": efficiency >= REQUIRED_EFFICIENCY_PERCENT - _ROUNDING,
    }
