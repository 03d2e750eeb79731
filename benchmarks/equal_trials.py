# SPDX-License-Identifier: MIT
"""Compare a configuration with itself on this machine, and with itself slowed down, by the rule that sweeps use.

Many trials of one configuration are measured, and consecutive ones are taken as pairs in blocks: they are equal, so a
rule that calls them different is wrong. Power comes from the same trials, with one side of each pair slowed down by a
known share. The claims: at most 5 % of equal pairs are called different, and a slowdown of 5 % is found in at least
95 % of comparisons within the default number of blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.progress import say
from benchmarks.report import parser, publish
from benchmarks.trial_bench import warm_bench
from benchmarks.trial_rows import append, begin, rows_of
from virnuc_profiler.analysis.confidence.paired import CANNOT_TELL, SAME
from virnuc_profiler.analysis.confidence.race import Race
from virnuc_profiler.targets.knobs.configuration import BASELINE

SLOWDOWNS: Final = (0.0, 0.01, 0.02, 0.05)


def main() -> None:
    """Measure or read the trials, and print what the rule says of them."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("table", type=Path, help="CSV file of trials to write; if it exists, it is used as it is")
    options.add_argument("--model", default="8M")
    options.add_argument("--device", default="cuda")
    options.add_argument("--num-sequences", type=int, default=20000)
    options.add_argument("--trial-seconds", type=float, default=0.4)
    options.add_argument("--trials", type=int, default=400)
    arguments = options.parse_args()
    if not arguments.table.exists():
        with warm_bench(arguments.model, arguments.device, arguments.num_sequences, arguments.trial_seconds) as bench:
            begin(arguments.table, bench.about())
            for number in range(arguments.trials):
                append(arguments.table, bench.measure(BASELINE, 0, number))
    rates = [float(row["tokens_per_sec"]) for row in rows_of(arguments.table) if row["tokens_per_sec"]]
    say(f"{len(rates)} trials of {BASELINE}: standard deviation {np.std(np.log(rates)):.2%}")
    figures = {slowdown: verdicts(rates, slowdown) for slowdown in SLOWDOWNS}
    header = ("slowed down by", "comparisons", "called different", "called the same", "cannot tell", "mean blocks")
    rows = [[f"{slowdown:.0%}", *cells(found)] for slowdown, found in figures.items()]
    publish(
        "Verdicts on equal trials", header, rows, {str(key): found for key, found in figures.items()}, arguments.json
    )


def verdicts(rates: Sequence[float], slowdown: float) -> list[tuple[str, int]]:
    """Return verdict and number of blocks of each comparison that the trials allow.

    Args:
        rates: Rates of equal trials, in the order in which they were measured.
        slowdown: Share by which the second of each pair is slowed down.
    """
    found = []
    left = list(rates)
    while True:
        race = Race(("one", "other"), "one")
        while not race.finished and len(left) >= 2:
            first, second = left.pop(0), left.pop(0)
            if race.blocks % 2:  # both go first equally often, as in a randomized block
                first, second = second, first
            race.add_block({"one": first, "other": second * (1 - slowdown)})
        if not race.finished:
            return found  # the trials are used up
        found.append((race.comparison("other").verdict, race.blocks))


def cells(found: Sequence[tuple[str, int]]) -> list[str]:
    """Return the cells of a row."""
    count = len(found)
    same, unknown = (sum(verdict == one for verdict, _ in found) for one in (SAME, CANNOT_TELL))
    blocks = np.mean([blocks for _, blocks in found]) if found else float("nan")
    return [str(count), *(f"{part} ({part / max(count, 1):.1%})" for part in (count - same - unknown, same, unknown)),
            f"{blocks:.1f}"]  # fmt: skip


if __name__ == "__main__":
    main()
