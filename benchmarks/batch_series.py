# SPDX-License-Identifier: MIT
"""Synthetic series of batches whose long-run rate is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Generator: TypeAlias = np.random.Generator
Numbers: TypeAlias = NDArray[np.float64]

TRUE_RATE: Final = 1e6
"""Work per second of every series in the long run."""
BATCH_SECONDS: Final = 0.01
PASSES: Final = 5
DWELL: Final = 20
"""Mean number of batches in one mode of the series with two modes."""
COLD_BATCHES: Final = 15
"""Time constant of the cold start, in batches."""


@dataclass(frozen=True, slots=True)
class Series:
    """A series of batches: times (n + 1,) in ns, work (n,), and the batches that end a pass."""

    times_ns: NDArray[np.int64]
    work: Numbers
    pass_ends: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Noise:
    """A kind of noise.

    Attributes:
        name: Name in the table.
        paces: Function of the generator and the number of batches that returns the time of each batch relative to its
            long-run time.
        passes: Whether the series consists of equal passes.
        stationary: Whether there is a long-run rate.
        enough: Number of batches from which on a run can know its noise; shorter runs often miss what is rare.
    """

    name: str
    paces: Callable[[Generator, int], Numbers]
    passes: bool = False
    stationary: bool = True
    enough: int = 0


def make_series(noise: Noise, random: Generator, batches: int) -> Series:
    """Make a series. Batches differ in work, and their time is proportional to it apart from the noise."""
    work = TRUE_RATE * BATCH_SECONDS * random.uniform(0.7, 1.3, batches)
    ends: tuple[int, ...] = ()
    if noise.passes:
        length = batches // PASSES
        work = np.tile(work[:length], PASSES)
        ends = tuple(length * (number + 1) - 1 for number in range(PASSES))
    paces = noise.paces(random, len(work))
    if noise.passes:
        # Work that costs more than its size says, at the same places of each pass; a whole pass has no error.
        pattern = 1 + 0.1 * np.sin(2 * np.pi * (np.arange(length) + 0.5) / length)
        paces = paces + np.tile(pattern / np.average(pattern, weights=work[:length]) - 1, PASSES)
    seconds = work * np.maximum(paces, 0.05) / TRUE_RATE
    times = np.concatenate([[0], np.rint(np.cumsum(seconds) * 1e9)]).astype(np.int64)
    return Series(times + int(random.integers(1, 10**12)), work, ends)


def autoregressive(coefficient: float, deviation: float = 0.05) -> Callable[[Generator, int], Numbers]:
    """Return first-order autoregressive noise with the given relative standard deviation."""

    def paces(random: Generator, batches: int) -> Numbers:
        shocks = random.normal(0, deviation * np.sqrt(1 - coefficient**2), batches + 200)
        return 1 + np.asarray(lfilter([1.0], [1.0, -coefficient], shocks))[200:]

    return paces


def stalls(random: Generator, batches: int) -> Numbers:
    """Return batches of which one in 50 takes twice as long, with a little noise."""
    return 0.98 + random.normal(0, 0.02, batches) + (random.random(batches) < 0.02)


def two_modes(random: Generator, batches: int) -> Numbers:
    """Return noise that switches between two levels 8 % apart."""
    switches = np.cumsum(random.random(batches) < 1 / DWELL) + random.integers(2)
    return 1 + 0.04 * (2.0 * (switches % 2) - 1) + random.normal(0, 0.01, batches)


def cold_start(random: Generator, batches: int) -> Numbers:
    """Return noise after a start at half speed that fades."""
    return autoregressive(0.6)(random, batches) + np.exp(-np.arange(batches) / COLD_BATCHES)


def drift(random: Generator, batches: int) -> Numbers:
    """Return noise around a level that changes by 10 % during the run."""
    return autoregressive(0.3, 0.02)(random, batches) + 0.1 * (np.arange(batches) / max(batches - 1, 1) - 0.5)


NOISES: Final = (
    Noise("independent", autoregressive(0.0)),
    Noise("AR(1), 0.3", autoregressive(0.3)),
    Noise("AR(1), 0.6", autoregressive(0.6)),
    Noise("AR(1), 0.9", autoregressive(0.9)),
    Noise("periodic within a pass", autoregressive(0.3, 0.02), passes=True),
    Noise("one in 50 stalls", stalls, enough=500),
    Noise("two modes", two_modes, enough=200),
    Noise("cold start", cold_start, enough=200),
    Noise("drift", drift, stationary=False, enough=10**9),
)
LENGTHS: Final = (10, 20, 50, 100, 200, 500, 2000)
