# SPDX-License-Identifier: MIT
"""Synthetic trials in blocks whose true rates are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

BASE_RATE: Final = 1000.0
MODE_JUMP: Final = 0.08
"""Difference between the two modes of a host, as on an H200 with a model of 8M parameters."""


@dataclass(frozen=True, slots=True)
class TrialNoise:
    """What disturbs the trials of a host.

    Attributes:
        name: Name in the table.
        deviation: Relative standard deviation from trial to trial.
        heavy: Whether the noise has heavy tails (Student's t with 3 degrees of freedom, of the same deviation).
        drift: Relative standard deviation of the change of the host's speed from one trial to the next.
        switches: Probability that the host changes its mode before a trial; None if it has one mode only.
    """

    name: str
    deviation: float
    heavy: bool = False
    drift: float = 0.0
    switches: float | None = None


NOISES: Final = (
    TrialNoise("normal, 0.3 %", 0.003),
    TrialNoise("normal, 1 %", 0.01),
    TrialNoise("normal, 2 %", 0.02),
    TrialNoise("heavy tails, 1 %", 0.01, heavy=True),
    TrialNoise("drift, 1 % a trial", 0.003, drift=0.01),
    TrialNoise("two modes, sticky", 0.005, switches=0.1),
    TrialNoise("two modes, by trial", 0.005, switches=0.5),
)


@dataclass(slots=True)
class Host:
    """A host on which trials run one after another.

    Attributes:
        noise: What disturbs the trials.
        random: Source of all randomness.
        speed: Logarithm of the host's speed, which drifts.
        fast: Whether the host is in its fast mode.
    """

    noise: TrialNoise
    random: np.random.Generator
    speed: float = 0.0
    fast: bool = field(init=False)

    def __post_init__(self) -> None:
        """Draw the first mode."""
        self.fast = bool(self.random.random() < 0.5)

    def trial(self, slowdown: float = 0.0) -> float:
        """Return the measured rate of a configuration that is slower than the base by a share of its time."""
        noise, random = self.noise, self.random
        self.speed += noise.drift * random.normal()
        if noise.switches is not None and random.random() < noise.switches:
            self.fast = not self.fast
        error = random.standard_t(3) / np.sqrt(3) if noise.heavy else random.normal()
        mode = 0.0 if noise.switches is None or self.fast else -MODE_JUMP
        return float(BASE_RATE / (1 + slowdown) * np.exp(self.speed + mode + noise.deviation * error))

    def block(self, slowdowns: Mapping[str, float]) -> dict[str, float]:
        """Return one rate of each configuration, measured in random order."""
        names = list(slowdowns)
        self.random.shuffle(names)
        return {name: self.trial(slowdowns[name]) for name in names}
