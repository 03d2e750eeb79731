# SPDX-License-Identifier: MIT
"""Replay searches on surfaces of known rates: how often they end near the best, and what they cost.

    python -m benchmarks.search_quality [--replays 200] [--table FILE ...] [--methods adaptive,...] [--jobs N]

A search is right if the true rate of what it recommends is within 2 % of the best. Its cost is its number of trials, as
a share of a grid that is measured three times. Beside the adaptive search: the grid once with the best single reading,
as many random trials as the adaptive search takes, and Optuna alone, with neither our bound nor our seeds nor a race.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Final, Protocol

import numpy as np
from scipy.stats import binomtest

from benchmarks import report
from benchmarks.search_replay import search
from benchmarks.search_surfaces import KINDS, NOISES, Noise, draw_surface
from benchmarks.search_tables import Table, read_table
from virnuc_profiler.sweep.search.adaptive import TRIALS, Measurement
from virnuc_profiler.sweep.search.proposals import require_optuna
from virnuc_profiler.sweep.search.space import MAX_BUFFER, MIN_BUDGET, MIN_BUFFER, Space
from virnuc_profiler.targets.knobs.configuration import Configuration

WITHIN: Final = 0.02
GRID_REPEATS: Final = 3
RANDOM_TRIALS: Final = 60
"""Trials of a random search: as many as an adaptive one takes with its race."""
MIXED: Final = "mixed"
RECORDED: Final = "recorded"


class Truth(Protocol):
    """What searches are replayed on."""

    def rate(self, configuration: Configuration) -> float | None:
        """Return the true rate; None if the configuration does not fit into memory."""

    def best(self) -> float:
        """Return the highest true rate."""

    def space(self) -> Space:
        """Return the space of an adaptive search."""

    def grid(self) -> list[Configuration]:
        """Return what an exhaustive sweep would measure."""


@dataclass(frozen=True, slots=True)
class Replay:
    """How one search has ended.

    Attributes:
        share: True rate of what it recommends, as a share of the best; 0 if it recommends nothing.
        trials: Number of its trials.
        cost: Its trials as a share of those of a grid that is measured three times.
        out_of_memory: Number of trials that ran out of memory.
    """

    share: float
    trials: int
    cost: float
    out_of_memory: int


class Machine:
    """Measures configurations of a truth with noise, and counts.

    Args:
        truth: The truth.
        noise: Returns the logarithm by which the next reading of a configuration is off.
    """

    def __init__(self, truth: Truth, noise: Callable[[Configuration], float]) -> None:
        self._truth, self._noise = truth, noise
        self.trials = self.out_of_memory = 0

    def measure(self, configuration: Configuration) -> Measurement:
        """Return a reading, which takes a second."""
        self.trials += 1
        rate = self._truth.rate(configuration)
        self.out_of_memory += rate is None
        return Measurement(None if rate is None else rate * math.exp(self._noise(configuration)), 1.0)

    def best_reading(self, configurations: Iterable[Configuration]) -> Configuration | None:
        """Measure configurations once, and return the one with the highest reading."""
        found = [(taken.rate, one) for one in configurations if (taken := self.measure(one)).rate is not None]
        return max(found, key=lambda pair: pair[0] or 0.0)[1] if found else None


def adaptive(truth: Truth, machine: Machine, seed: int) -> Configuration | None:
    """Search as ``sweep --search adaptive`` does."""
    return search(truth.space(), machine.measure, seed=seed).configuration


def grid_once(truth: Truth, machine: Machine, seed: int) -> Configuration | None:  # noqa: ARG001
    """Measure the grid once, and take the highest reading."""
    return machine.best_reading(truth.grid())


def random_search(truth: Truth, machine: Machine, seed: int) -> Configuration | None:
    """Measure random configurations of the space, and take the highest reading."""
    everything = truth.space().configurations
    count = min(RANDOM_TRIALS, len(everything))
    chosen = np.random.default_rng(seed).choice(len(everything), count, replace=False)
    return machine.best_reading(everything[index] for index in chosen)


def optuna_alone(truth: Truth, machine: Machine, seed: int) -> Configuration | None:
    """Let Optuna search budgets up to four times what fits, without seeds, and take the highest reading."""
    optuna = require_optuna()
    integer = optuna.distributions.IntDistribution
    space = truth.space()
    distributions = {
        "num_workers": integer(0, space.axes["num_workers"][-1]),
        "prefetch_factor": integer(1, 16),
        "token_budget": integer(MIN_BUDGET, 4 * space.axes["token_budget"][-1], log=True),
        "buffer_size": integer(MIN_BUFFER, MAX_BUFFER, log=True),
    }
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.GPSampler(seed=seed))
    best: tuple[float, Configuration | None] = (0.0, None)
    for _ in range(TRIALS):
        trial = study.ask(distributions)
        configuration = Configuration(**trial.params)
        rate = machine.measure(configuration).rate
        if rate is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        study.tell(trial, math.log(rate))
        best = max(best, (rate, configuration), key=lambda pair: pair[0])
    return best[1]


METHODS: Final = {"adaptive": adaptive, "grid-once": grid_once, "random": random_search, "optuna-alone": optuna_alone}


def replay(method: str, kind: str, noise: str, table: Table | None, number: int) -> Replay:
    """Run one search.

    Args:
        method: One of :data:`METHODS`.
        kind: Kind of the surface, or ``mixed`` for one after the other; ignored with a table.
        noise: Kind of the noise; ``recorded`` draws it from a table.
        table: A recorded table; None for a synthetic surface.
        number: Number of the replay, which is also its seed.
    """
    random = np.random.default_rng([number, 18])
    truth: Truth = table or draw_surface(KINDS[number % len(KINDS)] if kind == MIXED else kind, random)
    error = partial(table.error, random=random) if table and noise == RECORDED else Noise(noise, random)
    machine = Machine(truth, error)
    found = METHODS[method](truth, machine, number)
    rate = None if found is None else truth.rate(found)
    cost = machine.trials / (GRID_REPEATS * len(truth.grid()))
    return Replay((rate or 0.0) / truth.best(), machine.trials, cost, machine.out_of_memory)


def summary(replays: Sequence[Replay]) -> dict[str, Any]:
    """Return the share of searches that end near the best, with its exact 95 % interval, and what they cost.

    Args:
        replays: Searches of one method in one scenario.
    """
    right = sum(one.share >= 1 - WITHIN for one in replays)
    interval = binomtest(right, len(replays)).proportion_ci(0.95)
    return {
        "replays": len(replays),
        "within": right / len(replays),
        "low": float(interval.low),
        "high": float(interval.high),
        "mean_loss": 1 - fmean(one.share for one in replays),
        "trials": fmean(one.trials for one in replays),
        "cost": fmean(one.cost for one in replays),
        "out_of_memory": sum(one.out_of_memory for one in replays),
    }


def scenarios(tables: Sequence[Table]) -> list[tuple[str, str, Table | None]]:
    """Return kind, noise and table of each scenario: tables if there are any, else surfaces and noises."""
    if tables:
        return [(table.name, noise, table) for table in tables for noise in (RECORDED, *NOISES)]
    return [*((MIXED, noise, None) for noise in NOISES), *((kind, "1.5%", None) for kind in KINDS)]


def main() -> None:
    """Replay all scenarios with all methods."""
    options = report.parser(__doc__ or "")
    options.add_argument("--replays", type=int, default=200, metavar="N", help="searches of each kind (default: 200)")
    options.add_argument("--table", type=Path, action="append", default=[], help="replay on this recorded table")
    options.add_argument("--methods", default=",".join(METHODS), help="some of the methods (default: all)")
    options.add_argument("--scenarios", default="", help="some of the scenarios, such as mixed:modes,knee:1.5%%")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each core)")
    arguments = options.parse_args()
    methods = arguments.methods.split(",")
    if unknown := set(methods) - set(METHODS):
        options.error(f"no method {min(unknown)}; they are {', '.join(METHODS)}")
    wanted = set(filter(None, arguments.scenarios.split(",")))
    rows, figures = [], []
    known = list(scenarios([read_table(path) for path in arguments.table]))
    if unknown := wanted - {f"{kind}:{noise}" for kind, noise, _ in known}:
        options.error(
            f"no scenario {min(unknown)}; they are {', '.join(f'{kind}:{noise}' for kind, noise, _ in known)}"
        )
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for kind, noise, table in known:
            for method in methods:
                if wanted and f"{kind}:{noise}" not in wanted:
                    continue
                run = partial(replay, method, kind, noise, table)
                found = summary(list(pool.map(run, range(arguments.replays), chunksize=4)))
                figures.append({"surface": kind, "noise": noise, "method": method, **found})
                rows.append(_row(kind, noise, method, found))
                print(*rows[-1], sep="  ", flush=True)
    header = ("surface", "noise", "method", "within 2 %", "95 % interval", "mean loss", "trials", "cost", "OOM")
    report.publish("Searches that end within 2 % of the best", header, rows, figures, arguments.json)


def _row(kind: str, noise: str, method: str, found: dict[str, Any]) -> tuple[str, ...]:
    return (
        kind,
        noise,
        method,
        f"{found['within']:.1%}",
        f"{found['low']:.1%} to {found['high']:.1%}",
        f"{found['mean_loss']:.2%}",
        f"{found['trials']:.0f}",
        f"{found['cost']:.1%}",
        str(found["out_of_memory"]),
    )


if __name__ == "__main__":
    main()
