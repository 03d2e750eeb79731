# SPDX-License-Identifier: MIT
"""How often ``compare`` calls equal builds different, and how often it finds a build that is 5 % slower.

Synthetic runs with a known truth: batches vary by 3 %, and runs of the same build vary by a normal 1 % or between two
modes of the host that are 8 % apart. Each row is one way to compare, and each cell a share of the replays.

    python -m benchmarks.comparison_errors [--replays 400] [--json FILE]
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from benchmarks.report import parser, publish
from virnuc_profiler.analysis.comparison.effects import Rule, effect_on
from virnuc_profiler.analysis.comparison.measured_run import MeasuredRun
from virnuc_profiler.analysis.comparison.metrics import STEADY
from virnuc_profiler.analysis.comparison.pooled_effects import Pair, pooled_effects
from virnuc_profiler.analysis.confidence.rate_interval import rate_interval

BATCHES: Final = 300
SLOWDOWN: Final = 1.05

Noise = Callable[[np.random.Generator], float]
"""Draws the logarithm of a run's own factor."""

NOISES: Final[Mapping[str, Noise]] = {
    "no run noise": lambda _: 0.0,
    "1 % run noise": lambda random: 0.01 * random.standard_normal(),
    "two modes": lambda random: 0.08 * random.integers(2) + 0.005 * random.standard_normal(),
}


def made_run(
    random: np.random.Generator, noise: Noise, slowdown: float = 1.0, *, has_interval: bool = False
) -> MeasuredRun:
    """Return a run of 1,000 units a second, without the slowdown and the noise.

    The interval within a run takes most of the time, and only comparisons of one run each use it.
    """
    times = 0.001 * slowdown * np.exp(noise(random) + 0.03 * random.standard_normal(BATCHES))
    values = {STEADY.name: BATCHES / float(times.sum())}
    if not has_interval:
        return MeasuredRun(source="made", values=values)
    ends_ns = np.concatenate([[0], np.cumsum(times)]) * 1e9
    return MeasuredRun(source="made", values=values, steady=rate_interval(ends_ns.astype(np.int64), np.ones(BATCHES)))


def verdict_of_runs(
    random: np.random.Generator, noise: Noise, slowdown: float, reference: int, candidate: int, rule: Rule
) -> str:
    """Compare this number of runs of each side."""
    single = reference == candidate == 1
    before = [made_run(random, noise, has_interval=single) for _ in range(reference)]
    after = [made_run(random, noise, slowdown, has_interval=single) for _ in range(candidate)]
    return effect_on(STEADY, before, after, rule).verdict


def verdict_of_sweeps(random: np.random.Generator, noise: Noise, slowdown: float, configurations: int) -> str:
    """Compare two sweeps that measure each configuration once; the verdict over all configurations."""
    pairs = [
        Pair({"num_workers": number}, (made_run(random, noise),), (made_run(random, noise, slowdown),))
        for number in range(configurations)
    ]
    overall = pooled_effects(STEADY, pairs, Rule()).overall
    assert overall is not None
    return overall.verdict


WAYS: Final[Mapping[str, Callable[[np.random.Generator, Noise, float], str]]] = {
    "one run each": lambda *made: verdict_of_runs(*made, 1, 1, Rule()),
    "one run each, --run-noise 4": lambda *made: verdict_of_runs(*made, 1, 1, Rule(run_noise=0.04)),
    "one run against 6": lambda *made: verdict_of_runs(*made, 6, 1, Rule()),
    "6 runs against 6": lambda *made: verdict_of_runs(*made, 6, 6, Rule()),
    "sweeps of 9 configurations": lambda *made: verdict_of_sweeps(*made, 9),
    "sweeps of 20 configurations": lambda *made: verdict_of_sweeps(*made, 20),
}


def shares(way: str, noise: str, replays: int, seed: int = 0) -> tuple[float, float]:
    """Return the share of equal builds that are called different, and of slower builds that are called slower."""
    random = np.random.default_rng(seed)
    compare, drawn = WAYS[way], NOISES[noise]
    equal = [compare(random, drawn, 1.0) for _ in range(replays)]
    slower = [compare(random, drawn, SLOWDOWN) for _ in range(replays)]
    different = sum(verdict in ("FASTER", "SLOWER") for verdict in equal)
    return different / replays, slower.count("SLOWER") / replays


def main() -> None:
    """Print both shares for every way and noise."""
    options = parser(__doc__ or "")
    options.add_argument("--replays", type=int, default=400)
    arguments = options.parse_args()
    figures = {way: {noise: shares(way, noise, arguments.replays) for noise in NOISES} for way in WAYS}
    rows = [
        [way, *(f"{different:.1%} / {found:.1%}" for different, found in by_noise.values())]
        for way, by_noise in figures.items()
    ]
    title = "Equal builds called different / builds that are 5 % slower called slower"
    publish(title, ["", *NOISES], rows, figures, arguments.json)


if __name__ == "__main__":
    main()
