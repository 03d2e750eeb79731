# SPDX-License-Identifier: MIT
"""Measure whether the place of a trial in a sweep changes its speed: one grid forward, in reverse and shuffled.

The logarithm of the steady rate is fitted by least squares to one level for each configuration, one for each of the
sweeps, and one effect: that of going last instead of first, as a slope over the places, or that of going first instead
of anywhere else, where the baseline of a sweep is. The claim: both are at most 1 %, ends of their intervals included.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from scipy import special

from benchmarks.progress import say
from benchmarks.report import parser, publish
from benchmarks.trial_bench import warm_bench
from benchmarks.trial_rows import Row
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration

GRID: Final = (BASELINE, *(Configuration(4, prefetch) for prefetch in (3, 5, 6, 7, 8, 9, 10)), Configuration(4, 2))
CLAIMED: Final = 0.01


def main() -> None:
    """Measure the grid in each order, and print the effect of the place with its interval."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--model", default="8M")
    options.add_argument("--device", default="cuda")
    options.add_argument("--num-sequences", type=int, default=20000)
    options.add_argument("--trial-seconds", type=float, default=3.0)
    options.add_argument("--sweeps", type=int, default=3, help="forward, in reverse, shuffled, and so on")
    arguments = options.parse_args()
    sweeps: list[tuple[str, list[tuple[Configuration, Row]]]] = []
    for number in range(arguments.sweeps):
        shuffled = random.Random(number).sample(GRID, len(GRID))
        name, order = (("forward", GRID), ("reverse", GRID[::-1]), ("shuffled", shuffled))[number % 3]
        # Each sweep has a process-wide state as cold as it can be without a new process: a model of its own.
        with warm_bench(arguments.model, arguments.device, arguments.num_sequences, arguments.trial_seconds) as bench:
            sweeps.append((name, [(one, bench.measure(one, len(sweeps), place)) for place, one in enumerate(order)]))
        say(f"{name}: {', '.join(f'{row.tokens_per_sec or 0:,.0f}' for _, row in sweeps[-1][1])} tokens/s")
    rates = [[(one, row.tokens_per_sec) for one, row in found] for _, found in sweeps]
    effects = {"last against first": effect_of_place(rates), "first against the rest": effect_of_going_first(rates)}
    rows = [[name, str(place), str(one), f"{row.tokens_per_sec or 0:,.0f}"]
            for name, found in sweeps for place, (one, row) in enumerate(found)]  # fmt: skip
    figures = {name: {"effect": effect, "half_width": half_width} for name, (effect, half_width) in effects.items()}
    publish("Steady rate by place in the sweep", ("order", "place", "configuration", "tokens/s"), rows,
            figures, arguments.json)  # fmt: skip
    for name, (effect, half_width) in effects.items():
        interval = f"95 % interval {effect - half_width:+.2%} to {effect + half_width:+.2%}"
        print(f"{name}: {effect:+.2%} ({interval}); the claim of at most {CLAIMED:.0%} {verdict(effect, half_width)}")


def verdict(effect: float, half_width: float) -> str:
    """Return whether an effect is within what is claimed, as far as its interval can tell.

    Args:
        effect: The effect.
        half_width: Half-width of its interval.
    """
    if abs(effect) + half_width <= CLAIMED:
        return "holds"
    return "does not hold" if abs(effect) - half_width > CLAIMED else "can be neither held nor refuted"


def effect_of_place(sweeps: Sequence[Sequence[tuple[Configuration, float | None]]]) -> tuple[float, float]:
    """Return the relative effect of going last instead of first, and the half-width of its 95 % interval.

    Args:
        sweeps: For each sweep, its configurations in order, with their rates; None for a trial without a rate.
    """
    return _fitted(sweeps, lambda place, count: place / (count - 1))


def effect_of_going_first(sweeps: Sequence[Sequence[tuple[Configuration, float | None]]]) -> tuple[float, float]:
    """Return the relative effect of going first instead of elsewhere, and the half-width of its 95 % interval.

    Args:
        sweeps: For each sweep, its configurations in order, with their rates; None for a trial without a rate.
    """
    return _fitted(sweeps, lambda place, _: float(place == 0))


def _fitted(
    sweeps: Sequence[Sequence[tuple[Configuration, float | None]]], regressor: Callable[[int, int], float]
) -> tuple[float, float]:
    """Fit levels of configurations and sweeps, and the effect of a function of place and number of places."""
    names = sorted({str(one) for sweep in sweeps for one, _ in sweep})
    design, values = [], []
    for number, sweep in enumerate(sweeps):
        for place, (one, rate) in enumerate(sweep):
            if rate is None:
                continue
            levels = [float(str(one) == name) for name in names]
            levels += [float(number == other) for other in range(1, len(sweeps))]
            design.append([*levels, regressor(place, len(sweep))])
            values.append(np.log(rate))
    matrix, logs = np.array(design), np.array(values)
    fitted, *_ = np.linalg.lstsq(matrix, logs, rcond=None)
    degrees = len(logs) - np.linalg.matrix_rank(matrix)
    variance = float(((logs - matrix @ fitted) ** 2).sum()) / degrees
    error = np.sqrt(variance * np.linalg.pinv(matrix.T @ matrix)[-1, -1])
    return float(np.expm1(fitted[-1])), float(-special.stdtrit(degrees, 0.025) * error)


if __name__ == "__main__":
    main()
