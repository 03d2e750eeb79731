# SPDX-License-Identifier: MIT
"""How long a measurement will take, before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virnuc_profiler.sweep.plan.estimate import Estimate
    from virnuc_profiler.sweep.plan.request import Request
    from virnuc_profiler.sweep.plan.workload import Workload


def estimate(request: Request, workload: Workload, tokens: Sequence[int]) -> Estimate:
    """Estimate from an earlier baseline of the same workload, model and device in the folder, or guess without one.

    Args:
        request: What is asked for.
        workload: Sequences that a baseline would have measured.
        tokens: Tokens of each configuration to come.
    """
    from virnuc_profiler.analysis.model_cost import ModelShape
    from virnuc_profiler.capture.cpu_limits import cpu_limits
    from virnuc_profiler.inference.esm2.config import ARCHITECTURES
    from virnuc_profiler.sweep.plan.cooldown import min_pause_s
    from virnuc_profiler.sweep.plan.estimate import from_baseline, guess, without_guess
    from virnuc_profiler.sweep.results.result_files import baseline_seconds
    from virnuc_profiler.targets.knobs.configuration import BUILTIN_TARGET

    pause_s = min_pause_s(request.cooldown_s)
    trial_s = request.trial_seconds
    if trial_s is not None and request.timeout_s is not None:
        trial_s = min(trial_s, request.timeout_s)  # no pass begins that would exceed the time limit
    device = str(request.device)
    seconds = baseline_seconds(request.output_dir, workload.fingerprint, request.model, device, request.target)
    if seconds is not None:
        return from_baseline(
            tokens,
            pause_s,
            measured_seconds=seconds,
            measured_tokens=workload.tokens,
            trial_seconds=trial_s,
        )
    if request.target != BUILTIN_TARGET or request.model is None:
        return without_guess(len(tokens), pause_s, trial_s)
    architecture = ARCHITECTURES[request.model]
    return guess(
        tokens,
        pause_s,
        shape=ModelShape(architecture.num_layers, architecture.hidden_size),
        cores=(cpu_limits().usable_cores or 1) if request.device.type == "cpu" else None,
        trial_seconds=trial_s,
    )
