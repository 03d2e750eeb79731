# SPDX-License-Identifier: MIT
"""Record the speed of every configuration of a large grid, in randomized blocks: the truth that searches are tested on.

Every block measures each configuration once, in an order of its own, so that drift of the machine hits all of them
equally. A run that was ended early continues where it stopped. ``search_quality.py`` replays searches on the table.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from time import monotonic
from typing import Final

from benchmarks.progress import say
from benchmarks.trial_bench import warm_bench
from benchmarks.trial_rows import KNOBS, append, begin, rows_of
from virnuc_profiler.targets.knobs.configuration import Configuration

WORKERS: Final = (0, 1, 2, 4, 8)
PREFETCH: Final = (2, 8)
BUDGETS: Final = (4096, 8192, 16384, 32768, 65536, 131072)
BUFFERS: Final = (500, 2000, 8000, 20000)
SMALL_GRID: Final = ((1, 4), (4,), (4096, 16384, 65536, 131072), (500, 2000, 8000))
"""Workers, prefetch factors, budgets and buffers of ``--small``, for models whose trials take seconds."""


def main() -> None:
    """Measure what the table lacks, a row at a time, until everything is there or the time is up."""
    arguments = parse_arguments()
    grid = configurations(small=arguments.small)
    done = {(int(row["block"]), *(int(row[name]) for name in KNOBS)) for row in rows_of(arguments.table)}
    say(f"{len(grid)} configurations x {arguments.blocks} blocks, {len(done)} trials are there")
    end = monotonic() + arguments.time_limit
    with warm_bench(arguments.model, arguments.device, arguments.num_sequences, arguments.trial_seconds) as bench:
        if not arguments.table.exists():
            begin(arguments.table, bench.about())
        for block, place, configuration in trials(grid, arguments.blocks):
            if (block, *configuration.values().values()) in done:
                continue
            if monotonic() > end:
                say("the time is up: run this again to continue")
                return
            row = bench.measure(configuration, block, place)
            append(arguments.table, row)
            if place % 20 == 0:
                say(f"block {block}, trial {place}: {configuration}: {row.tokens_per_sec or 0:,.0f} tokens/s")
    say("the table is complete")


def parse_arguments() -> argparse.Namespace:
    """Parse the options."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("table", type=Path, help="CSV file to write, or to continue")
    options.add_argument("--model", default="8M")
    options.add_argument("--device", default="cuda")
    options.add_argument("--num-sequences", type=int, default=20000)
    options.add_argument("--blocks", type=int, default=3)
    options.add_argument("--trial-seconds", type=float, default=0.4, help="shortest trial; whole passes are run")
    options.add_argument("--time-limit", type=float, default=1e7, help="seconds after which no trial begins")
    options.add_argument("--small", action="store_true", help="24 configurations, for models whose trials take seconds")
    return options.parse_args()


def configurations(*, small: bool) -> list[Configuration]:
    """Return the grid; without workers the prefetch factor has no effect, and only its first value is measured."""
    workers, prefetch, budgets, buffers = SMALL_GRID if small else (WORKERS, PREFETCH, BUDGETS, BUFFERS)
    points = product(workers, prefetch, budgets, buffers)
    return [Configuration(*point) for point in points if point[0] or point[1] == prefetch[0]]


def trials(grid: Sequence[Configuration], blocks: int) -> Iterator[tuple[int, int, Configuration]]:
    """Yield block, place and configuration of all trials; the order of a block depends on its number only."""
    for block in range(blocks):
        order = random.Random(block).sample(grid, len(grid))
        yield from ((block, place, configuration) for place, configuration in enumerate(order))


if __name__ == "__main__":
    main()
