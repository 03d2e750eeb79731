# SPDX-License-Identifier: MIT
"""Duration of a sweep: a guess before it starts, and a projection once something was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from virnuc_profiler.analysis.model_cost import ModelShape, forward_flops

GPU_FLOPS: Final = 100e12
CPU_CORE_FLOPS: Final = 30e9
"""Assumed speeds in floating-point operations per second: rough, and every estimate that uses them says so."""

START_UP_S: Final = 1.0
"""Assumed seconds in which a configuration starts and ends its workers."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A duration with its basis.

    Attributes:
        seconds: The duration.
        basis: What the estimate is made from, in words.
    """

    seconds: float
    basis: str

    def __str__(self) -> str:
        return f"about {in_words(self.seconds)} ({self.basis})"


@dataclass
class Pace:
    """Learns from measured configurations how long the others will take.

    Attributes:
        cooldown_s: Pause after each configuration, which does not depend on the workload.
    """

    cooldown_s: float
    _seconds: float = 0.0
    _tokens: int = 0

    def add(self, seconds: float, tokens: int) -> None:
        """Count a configuration that was measured.

        Args:
            seconds: Seconds that it took, pause included.
            tokens: Tokens of its workload.
        """
        self._seconds += max(0.0, seconds - self.cooldown_s)
        self._tokens += tokens

    def remaining(self, tokens: Sequence[int]) -> float | None:
        """Return the seconds for configurations with these numbers of tokens; None before any was measured."""
        if not self._tokens:
            return None
        return sum(self.cooldown_s + count * self._seconds / self._tokens for count in tokens)


def guess(tokens: Sequence[int], cooldown_s: float, *, shape: ModelShape, cores: float | None) -> Estimate:
    """Guess from the model's arithmetic alone.

    Args:
        tokens: Tokens of each configuration.
        cooldown_s: Pause after each configuration in seconds.
        shape: Shape of the model.
        cores: Number of CPU cores, not always whole; None for a GPU.
    """
    speed = GPU_FLOPS if cores is None else cores * CPU_CORE_FLOPS
    where = "a GPU" if cores is None else f"{cores:.4g} CPU core{'' if cores == 1 else 's'}"
    seconds = sum(forward_flops(count, 0, shape) / speed + START_UP_S + cooldown_s for count in tokens)
    return Estimate(seconds, f"a guess: assumes {speed / 1e12:.3g} TFLOP/s on {where}, {cooldown_s:g} s pauses")


def from_baseline(
    tokens: Sequence[int], cooldown_s: float, *, measured_seconds: float, measured_tokens: int
) -> Estimate:
    """Project from a baseline that was measured under the same conditions.

    Args:
        tokens: Tokens of each configuration.
        cooldown_s: Pause after each configuration in seconds.
        measured_seconds: Seconds that the baseline took.
        measured_tokens: Tokens of the baseline.
    """
    pace = Pace(cooldown_s)
    pace.add(
        max(0.0, measured_seconds - START_UP_S) + cooldown_s, measured_tokens
    )  # each configuration pays for its own start
    seconds = (pace.remaining(tokens) or 0.0) + START_UP_S * len(tokens)
    return Estimate(seconds, f"from the measured baseline of {measured_seconds:.1f} s, {cooldown_s:g} s pauses")


def in_words(seconds: float) -> str:
    """Return ``45 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
