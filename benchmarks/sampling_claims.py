# SPDX-License-Identifier: MIT
"""Compare the claims about the GPU sampler with measurements. Pure."""

from __future__ import annotations

from benchmarks.claim import Claim
from benchmarks.sampling_figures import Energy

MAX_ENERGY_DISAGREEMENT = 0.05
MIN_TENSOR_ACTIVITY_LOADED = 0.80
MAX_TENSOR_ACTIVITY_IDLE = 0.02
MAX_CPU_SHARE = 0.01
MAX_JITTER_ADDED_MS = 1.0


def energy_claim(window: str, energy: Energy | None) -> Claim:
    """Claim that the counter and the sampled power agree on the energy."""
    text = f"energy, {window}: counter and integral of power at most {MAX_ENERGY_DISAGREEMENT:.0%} apart"
    if energy is None or energy.counter_j <= 0:
        return Claim(text, "n/a", None)
    measured = f"{energy.counter_j:,.0f} J and {energy.integral_j:,.0f} J in {energy.seconds:.1f} s: "
    measured += f"{energy.disagreement:.2%} apart"
    return Claim(text, measured, energy.disagreement <= MAX_ENERGY_DISAGREEMENT)


def tensor_claim(phase: str, activity: float | None, *, loaded: bool) -> Claim:
    """Claim that GPM sees matrix products, and sees nothing when there are none."""
    if loaded:
        text = f"tensor activity, {phase}: above {MIN_TENSOR_ACTIVITY_LOADED:.0%}"
        holds = activity is not None and activity > MIN_TENSOR_ACTIVITY_LOADED
    else:
        text = f"tensor activity, {phase}: at most {MAX_TENSOR_ACTIVITY_IDLE:.0%}"
        holds = activity is not None and activity <= MAX_TENSOR_ACTIVITY_IDLE
    return Claim(text, "n/a", None) if activity is None else Claim(text, f"{activity:.1%}", holds)


def cpu_claim(share: float) -> Claim:
    """Claim that the sampler uses little CPU time."""
    text = f"CPU time of the sampler's threads: at most {MAX_CPU_SHARE:.0%} of a core"
    return Claim(text, f"{share:.3%}", share <= MAX_CPU_SHARE)


def jitter_claim(beside_ms: float | None, alone_ms: float | None) -> Claim:
    """Claim that slow queries do not delay fast ones."""
    text = f"jitter of the fast tier (p99): the slower tiers add at most {MAX_JITTER_ADDED_MS:g} ms"
    if beside_ms is None or alone_ms is None:
        return Claim(text, "n/a", None)
    measured = f"{beside_ms:.3f} ms with them, {alone_ms:.3f} ms without"
    return Claim(text, measured, beside_ms - alone_ms <= MAX_JITTER_ADDED_MS)
