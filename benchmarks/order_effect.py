# SPDX-License-Identifier: MIT
"""Measure whether the place of a trial in a sweep changes its speed: one grid forward, in reverse and shuffled.

The logarithm of the steady rate is fitted by least squares to one level for each configuration, one for each of the
sweeps, and one slope for the place. The slope times the number of places is the effect of going last instead of first.
The claim: at most 1 %, with the baseline, which always goes first in a sweep, among the trials.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
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
    arguments = options.parse_args()
    shuffled = random.Random(1).sample(GRID, len(GRID))
    orders = {"forward": GRID, "reverse": GRID[::-1], "shuffled": shuffled}
    sweeps: list[tuple[str, list[tuple[Configuration, Row]]]] = []
    for name, order in orders.items():
        # Each sweep has a process-wide state as cold as it can be without a new process: a model of its own.
        with warm_bench(arguments.model, arguments.device, arguments.num_sequences, arguments.trial_seconds) as bench:
            sweeps.append((name, [(one, bench.measure(one, len(sweeps), place)) for place, one in enumerate(order)]))
        say(f"{name}: {', '.join(f'{row.tokens_per_sec or 0:,.0f}' for _, row in sweeps[-1][1])} tokens/s")
    effect, half_width = effect_of_place([[(one, row.tokens_per_sec) for one, row in rows] for _, rows in sweeps])
    rows = [[name, str(place), str(one), f"{row.tokens_per_sec or 0:,.0f}"]
            for name, found in sweeps for place, (one, row) in enumerate(found)]  # fmt: skip
    publish("Steady rate by place in the sweep", ("order", "place", "configuration", "tokens/s"), rows,
            {"effect": effect, "half_width": half_width}, arguments.json)  # fmt: skip
    interval = f"95 % interval {effect - half_width:+.2%} to {effect + half_width:+.2%}"
    verdict = "holds" if abs(effect) <= CLAIMED else "does not hold"
    print(f"Last against first: {effect:+.2%} ({interval}); the claim of at most {CLAIMED:.0%} {verdict}")


def effect_of_place(sweeps: Sequence[Sequence[tuple[Configuration, float | None]]]) -> tuple[float, float]:
    """Return the relative effect of going last instead of first, and the half-width of its 95 % interval.

    Args:
        sweeps: For each sweep, its configurations in order, with their rates; None for a trial without a rate.
    """
    names = sorted({str(one) for sweep in sweeps for one, _ in sweep})
    design, values = [], []
    for number, sweep in enumerate(sweeps):
        for place, (one, rate) in enumerate(sweep):
            if rate is None:
                continue
            levels = [float(str(one) == name) for name in names]
            levels += [float(number == other) for other in range(1, len(sweeps))]
            design.append([*levels, place / (len(sweep) - 1)])
            values.append(np.log(rate))
    matrix, logs = np.array(design), np.array(values)
    fitted, *_ = np.linalg.lstsq(matrix, logs, rcond=None)
    degrees = len(logs) - np.linalg.matrix_rank(matrix)
    variance = float(((logs - matrix @ fitted) ** 2).sum()) / degrees
    error = np.sqrt(variance * np.linalg.pinv(matrix.T @ matrix)[-1, -1])
    return float(np.expm1(fitted[-1])), float(-special.stdtrit(degrees, 0.025) * error)


if __name__ == "__main__":
    main()
