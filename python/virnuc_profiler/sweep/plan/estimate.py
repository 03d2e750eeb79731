# SPDX-License-Identifier: MIT
"""How long a sweep will take: a guess before it starts, and a projection once something was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from virnuc_profiler.analysis.model_cost import ModelShape, forward_flops

GPU_FLOPS: Final = 100e12
CPU_CORE_FLOPS: Final = 30e9
"""Assumed speeds, in floating-point operations per second: rough, and said to be so wherever they are used."""

START_UP_S: Final = 1.0
"""Assumed time in which a configuration starts its workers and ends them."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A duration, and what it rests on."""

    seconds: float
    basis: str

    def __str__(self) -> str:
        return f"about {in_words(self.seconds)} ({self.basis})"


@dataclass
class Pace:
    """Learns from the configurations that were measured how long the others will take.

    Attributes:
        cooldown_s: pause after each, which does not depend on the workload.
    """

    cooldown_s: float
    _seconds: float = 0.0
    _tokens: int = 0

    def add(self, seconds: float, tokens: int) -> None:
        """Notes that a configuration with so many tokens took so long, pause included."""
        self._seconds += max(0.0, seconds - self.cooldown_s)
        self._tokens += tokens

    def remaining(self, tokens: Sequence[int]) -> float | None:
        """Seconds for configurations with these numbers of tokens; None if nothing was measured yet."""
        if not self._tokens:
            return None
        return sum(self.cooldown_s + count * self._seconds / self._tokens for count in tokens)


def guess(tokens: Sequence[int], cooldown_s: float, *, shape: ModelShape, cores: int | None) -> Estimate:
    """A guess from the model's arithmetic alone.

    Args:
        tokens: of each configuration.
        cooldown_s: pause after each.
        shape: Shape of the model.
        cores: CPU cores; None for a GPU.
    """
    speed = GPU_FLOPS if cores is None else cores * CPU_CORE_FLOPS
    where = "a GPU" if cores is None else f"{cores} CPU core{'s' if cores > 1 else ''}"
    seconds = sum(forward_flops(count, 0, shape) / speed + START_UP_S + cooldown_s for count in tokens)
    return Estimate(seconds, f"a guess: assumes {speed / 1e12:.3g} TFLOP/s on {where}, {cooldown_s:g} s pauses")


def from_baseline(
    tokens: Sequence[int], cooldown_s: float, *, measured_seconds: float, measured_tokens: int
) -> Estimate:
    """A projection from a baseline that was measured under the same conditions."""
    pace = Pace(cooldown_s)
    pace.add(max(0.0, measured_seconds - START_UP_S) + cooldown_s, measured_tokens)  # which each pays for itself
    seconds = (pace.remaining(tokens) or 0.0) + START_UP_S * len(tokens)
    return Estimate(seconds, f"from the measured baseline of {measured_seconds:.1f} s, {cooldown_s:g} s pauses")


def in_words(seconds: float) -> str:
    """``45 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
