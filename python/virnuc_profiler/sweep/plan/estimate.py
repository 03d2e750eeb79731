# SPDX-License-Identifier: MIT
"""Duration of a sweep: a guess before it starts, and a projection once something was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from virnuc_profiler.analysis.model_cost import ModelShape

GPU_FLOPS: Final = 100e12
CPU_CORE_FLOPS: Final = 30e9
"""Assumed speeds in floating-point operations per second: rough, and every estimate that uses them says so."""

START_UP_S: Final = 1.0
"""Assumed seconds in which a configuration starts and ends its workers."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A duration with its basis.

    Attributes:
        seconds: The duration; None if it is not known.
        basis: What the estimate is made from, in words, or why there is none.
    """

    seconds: float | None
    basis: str

    def __str__(self) -> str:
        if self.seconds is None:
            return f"not known ({self.basis})"
        return f"about {in_words(self.seconds)} ({self.basis})"


@dataclass
class Pace:
    """Learns from measured configurations how long the others will take.

    What a configuration takes at its steady rate grows with the tokens of its workload. The rest, such as the start of
    its workers, does not. A configuration without a steady rate counts as if all of its time grew. If configurations
    repeat their workload, each is expected to do so for as long as those before, or for one pass if that takes longer.

    Attributes:
        cooldown_s: Pause after each configuration, which does not depend on the workload.
    """

    cooldown_s: float
    _growing_s: float = 0.0
    _fixed_s: float = 0.0
    _tokens: int = 0
    _configurations: int = 0
    _repeated: bool = False

    def add(self, seconds: float, tokens: int, steady_seconds: float | None = None, passes: int = 1) -> None:
        """Count a configuration that was measured to the end.

        Args:
            seconds: Seconds that it took, pause included.
            tokens: Tokens of its workload.
            steady_seconds: Seconds that one pass takes at the configuration's steady rate; None if unknown.
            passes: Number of passes over the workload.
        """
        measured = max(0.0, seconds - self.cooldown_s)
        growing = measured if steady_seconds is None else min(measured, passes * steady_seconds)
        self._growing_s += growing
        self._fixed_s += measured - growing
        self._tokens += passes * tokens
        self._configurations += 1
        self._repeated |= passes > 1

    def remaining(self, tokens: Sequence[int]) -> float | None:
        """Return the seconds for configurations with these numbers of tokens; None before any was measured."""
        if not self._tokens:
            return None
        fixed = self.cooldown_s + self._fixed_s / self._configurations
        repeating = self._growing_s / self._configurations if self._repeated else 0.0
        return sum(fixed + max(repeating, count * self._growing_s / self._tokens) for count in tokens)


def repeated(pass_seconds: float, trial_seconds: float | None) -> float:
    """Return how long a trial takes that repeats its workload until its time is used up.

    Args:
        pass_seconds: Seconds of one pass.
        trial_seconds: Seconds within which a pass may begin; None for one pass.
    """
    return max(1, math.ceil((trial_seconds or 0.0) / pass_seconds)) * pass_seconds if pass_seconds > 0 else 0.0


def guess(
    tokens: Sequence[int],
    cooldown_s: float,
    *,
    shape: ModelShape,
    cores: float | None,
    trial_seconds: float | None = None,
) -> Estimate:
    """Guess from the model's arithmetic alone.

    Args:
        tokens: Tokens of each configuration.
        cooldown_s: Pause after each configuration in seconds.
        shape: Shape of the model.
        cores: Number of CPU cores, not always whole; None for a GPU.
        trial_seconds: Seconds in which each configuration repeats its workload; None for one pass.
    """
    from virnuc_profiler.analysis.model_cost import forward_flops  # imports NumPy, which few commands need

    speed = GPU_FLOPS if cores is None else cores * CPU_CORE_FLOPS
    where = "a GPU" if cores is None else f"{cores:.4g} CPU core{'' if cores == 1 else 's'}"
    passes = (repeated(forward_flops(count, 0, shape) / speed, trial_seconds) for count in tokens)
    seconds = sum(passes) + (START_UP_S + cooldown_s) * len(tokens)
    return Estimate(seconds, f"a guess: assumes {speed / 1e12:.3g} TFLOP/s on {where}, {cooldown_s:g} s pauses")


def without_guess(count: int, cooldown_s: float, trial_seconds: float | None = None) -> Estimate:
    """Return what is known of a program whose arithmetic is not: for how long its trials repeat their workload.

    Args:
        count: Number of configurations.
        cooldown_s: Pause after each configuration in seconds.
        trial_seconds: Seconds in which each configuration repeats its workload; None for one pass.
    """
    if not trial_seconds:
        return Estimate(None, "the speed of this target is not known yet")
    each = trial_seconds + cooldown_s
    return Estimate(
        count * each, f"at least: {each:g} s of each, besides the start; the speed of this target is not known"
    )


def from_baseline(
    tokens: Sequence[int],
    cooldown_s: float,
    *,
    measured_seconds: float,
    measured_tokens: int,
    trial_seconds: float | None = None,
) -> Estimate:
    """Project from a baseline that was measured under the same conditions.

    Args:
        tokens: Tokens of each configuration.
        cooldown_s: Pause after each configuration in seconds.
        measured_seconds: Seconds that one pass of the baseline took, its start included.
        measured_tokens: Tokens of the baseline.
        trial_seconds: Seconds in which each configuration repeats its workload; None for one pass.
    """
    per_token = max(0.0, measured_seconds - START_UP_S) / measured_tokens  # each configuration pays for its own start
    passes = (repeated(count * per_token, trial_seconds) for count in tokens)
    seconds = sum(passes) + (START_UP_S + cooldown_s) * len(tokens)
    return Estimate(seconds, f"from the measured baseline of {measured_seconds:.1f} s, {cooldown_s:g} s pauses")


def in_words(seconds: float) -> str:
    """Return ``45 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
