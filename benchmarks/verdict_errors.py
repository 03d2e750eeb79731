# SPDX-License-Identifier: MIT
"""Count wrong and missed verdicts on synthetic trials of known speed.

One configuration is as fast as the others (A/A), or slower by 1, 2, or 5 %. Each is measured in blocks in random order
on a host with normal noise, heavy tails, drift, or two modes 8 % apart. The claims: of equal configurations, at most
5 % are called different; a slowdown of 5 % is found in 95 % or more with 10 blocks, unless the host changes its mode at
random before each trial. That case needs more blocks than a race may have, and the table shows how many.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Final, TypeAlias

import numpy as np

from benchmarks.claim import Claim
from benchmarks.report import parser, publish, publish_claims
from benchmarks.trial_noise import NOISES, Host, TrialNoise
from virnuc_profiler.analysis.confidence.paired import FASTER, SAME, SLOWER, compare_blocks, compare_samples
from virnuc_profiler.analysis.confidence.race import Race

SLOWDOWNS: Final = (0.0, 0.01, 0.02, 0.05)
MAX_DIFFERENT: Final = 0.05
MIN_FOUND: Final = 0.95
HARDEST: Final = "two modes, by trial"
HEADER: Final = ("noise", "method", "slower by", "called different", "called same", "blocks")

Outcome: TypeAlias = tuple[str, int]
"""Verdict on the slower configuration, and the number of blocks that it took."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a method said about a configuration on a noisy host, as shares of all tries."""

    noise: str
    method: str
    slowdown: float
    tries: int
    different: float
    same: float
    blocks: float

    @property
    def error(self) -> float:
        """Standard error of `different`; not below that of one case."""
        share = min(max(self.different, 1 / self.tries), 1 - 1 / self.tries)
        return float(np.sqrt(share * (1 - share) / self.tries))


def main() -> None:
    """Print the table and the verdicts."""
    arguments = parse_arguments()
    rows = list(measure(arguments.tries, arguments.seed))
    publish(
        f"Wrong and missed verdicts, {arguments.tries} tries each, seed {arguments.seed}",
        HEADER,
        [cells(row) for row in rows],
        [asdict(row) for row in rows],
        arguments.json,
    )
    publish_claims(claims(rows))


def parse_arguments() -> argparse.Namespace:
    """Parse the options."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--tries", type=int, default=400, help="tries for each row (default: 400)")
    options.add_argument("--seed", type=int, default=18, help="random seed (default: 18)")
    options.add_argument("--quick", action="store_const", dest="tries", const=10, help="only 10 tries for each row")
    return options.parse_args()


def measure(tries: int, seed: int) -> Iterator[Figures]:
    """Yield the figures of each method for each slowdown and kind of noise."""
    for noise in NOISES:
        for name, method in methods().items():
            for slowdown in SLOWDOWNS:
                random = np.random.default_rng([seed, *name.encode(), round(1000 * slowdown)])
                outcomes = [method(Host(noise, random), slowdown) for _ in range(tries)]
                yield figures(noise, name, slowdown, outcomes)


def methods() -> dict[str, Callable[[Host, float], Outcome]]:
    """Return the methods by name. Each compares a slower configuration with the reference on a host."""
    return {
        "5 blocks": lambda host, slowdown: in_blocks(host, slowdown, 5),
        "10 blocks": lambda host, slowdown: in_blocks(host, slowdown, 10),
        "20 blocks": lambda host, slowdown: in_blocks(host, slowdown, 20),
        "10 samples each": in_samples,
        "race of 3": lambda host, slowdown: in_a_race(host, slowdown, 3),
        "race of 6": lambda host, slowdown: in_a_race(host, slowdown, 6),
    }


def in_blocks(host: Host, slowdown: float, blocks: int) -> Outcome:
    """Compare the two in a fixed number of blocks."""
    measured = [host.block({"reference": 0.0, "candidate": slowdown}) for _ in range(blocks)]
    compared = compare_blocks([one["candidate"] for one in measured], [one["reference"] for one in measured])
    return compared.verdict, blocks


def in_samples(host: Host, slowdown: float) -> Outcome:
    """Compare ten trials of each, in random order but not in blocks."""
    order = host.random.permutation(20) < 10
    rates = [(slower, host.trial(slowdown if slower else 0.0)) for slower in order]
    compared = compare_samples(
        [rate for slower, rate in rates if slower], [rate for slower, rate in rates if not slower]
    )
    return compared.verdict, 10


def in_a_race(host: Host, slowdown: float, size: int) -> Outcome:
    """Let configurations race of which one is slower. In an A/A race, any difference that is stated is wrong."""
    slowdowns = {f"equal {number}": 0.0 for number in range(size - 1)} | {"slower": slowdown}
    race = Race(list(slowdowns), "equal 0")
    while not race.finished:
        race.add_block(host.block({name: slowdowns[name] for name in race.running}))
    lost = set(race.names) - set(race.leaders())
    wrong = any(race.comparison(name).differs for name in race.names[1:]) or lost
    if slowdown == 0:
        verdict = SLOWER if wrong else race.comparison("slower").verdict
    else:
        verdict = SLOWER if lost == {"slower"} else race.comparison("slower").verdict
    return verdict, race.blocks


def figures(noise: TrialNoise, method: str, slowdown: float, outcomes: list[Outcome]) -> Figures:
    """Count the verdicts."""
    counts = Counter(verdict for verdict, _ in outcomes)
    tries = len(outcomes)
    return Figures(
        noise.name,
        method,
        slowdown,
        tries,
        (counts[FASTER] + counts[SLOWER]) / tries,
        counts[SAME] / tries,
        sum(blocks for _, blocks in outcomes) / tries,
    )


def claims(rows: list[Figures]) -> list[Claim]:
    """Return the claims, each decided by its worst row. A row fails a claim if it does so by two standard errors."""
    equal = [row for row in rows if row.slowdown == 0]
    worst = max(equal, key=lambda row: row.different - 2 * row.error)
    found = [row for row in rows if row.slowdown == SLOWDOWNS[-1] and row.method not in ("5 blocks", "20 blocks")]
    normal = min((row for row in found if row.noise.startswith("normal")), key=lambda row: row.different)
    blocks = min(
        (row for row in found if row.method == "10 blocks" and row.noise != HARDEST), key=lambda row: row.different
    )
    hardest = next(row for row in rows if row.noise == HARDEST and row.method == "20 blocks" and row.slowdown == 0.05)
    return [
        Claim("equal called different <= 5 %", shown(worst), worst.different - 2 * worst.error <= MAX_DIFFERENT),
        found_claim("5 % slower found, normal noise up to 2 %, at most 10 blocks", normal),
        found_claim("5 % slower found in 10 blocks, all but the host that changes by trial", blocks),
        found_claim("5 % slower found in 20 blocks, the host that changes by trial", hardest),
    ]


def found_claim(text: str, row: Figures) -> Claim:
    """Make the claim that a slowdown is found in 95 % or more."""
    return Claim(text, shown(row), row.different + 2 * row.error >= MIN_FOUND)


def shown(row: Figures) -> str:
    """Return a share with its standard error, and the row that it comes from."""
    return f"{100 * row.different:.1f} ± {100 * row.error:.1f} % ({row.noise}; {row.method})"


def cells(row: Figures) -> tuple[str, ...]:
    """Return the cells of a row."""
    return (
        row.noise,
        row.method,
        f"{100 * row.slowdown:.0f} %",
        f"{100 * row.different:.1f} ± {100 * row.error:.1f} %",
        f"{100 * row.same:.1f} %",
        f"{row.blocks:.1f}",
    )


if __name__ == "__main__":
    main()
