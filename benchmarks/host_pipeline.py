# SPDX-License-Identifier: MIT
"""Measure how fast the host turns a FASTA file into packed batches, against fair-esm's batch converter. Needs no GPU.

The claim: at least 50 times as fast, on one core and on two. Batches are in pinned memory if there is CUDA.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.claim import Claim, at_least
from benchmarks.host_pipeline_rates import FAIR_ESM
from benchmarks.report import parser, publish
from benchmarks.throughput_workloads import GENERATORS

CORES: Final = (1, 2)
CLAIMED_FACTOR: Final = 50


def main() -> None:
    """Measure on each number of cores, and print tokens/s and the verdicts."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--workload", choices=GENERATORS, default="sweep")
    options.add_argument("--num-sequences", type=int, default=100_000)
    options.add_argument(
        "--fair-esm-sequences",
        type=int,
        default=2_000,
        help="number of sequences for fair-esm's converter, which is slow",
    )
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fasta = GENERATORS[arguments.workload](Path(folder), arguments.num_sequences)
        figures = {cores: measured_on(cores, fasta, arguments.fair_esm_sequences) for cores in CORES}
    rows = [row for cores, found in figures.items() for row in rows_of(cores, found)]
    header = ["cores", "pipeline", "memory", "tokens/s", "x fair-esm"]
    told = {"workload": arguments.workload, **{str(cores): found for cores, found in figures.items()}}
    publish(f"FASTA to packed batches, workload {arguments.workload!r}", header, rows, told, arguments.json)
    print()
    for cores, found in figures.items():
        claim = judge(cores, found)
        print(f"{claim.verdict}: {claim.text}: {claim.measured}")


def measured_on(cores: int, fasta: Path, fair_esm_sequences: int) -> dict[str, Any] | None:
    """Return figures from a process restricted to this many cores, or None if there are fewer."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < cores:
        return None
    command = [sys.executable, "-m", "benchmarks.host_pipeline_rates", str(fasta), str(fair_esm_sequences)]
    with restricted_to(usable[:cores]):
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def restricted_to(cores: list[int]) -> Iterator[None]:
    """Restrict processes that this thread starts in the meantime to these cores, from their first instruction on."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def rows_of(cores: int, found: dict[str, Any] | None) -> list[list[str]]:
    """Return the rows of the table."""
    if found is None:
        return [[f"{cores}", "n/a: this machine lets us use fewer", "", "n/a", "n/a"]]
    rates = found["tokens_per_s"]
    ours = "pinned" if found["pinned"] else "not pinned, no CUDA"
    return [
        [f"{cores}", name, "" if name == FAIR_ESM else ours, f"{rate:,.0f}", f"{rate / rates[FAIR_ESM]:,.0f}"]
        for name, rate in rates.items()
    ]


def judge(cores: int, found: dict[str, Any] | None) -> Claim:
    """Compare the best number of workers with fair-esm."""
    text = f"on {cores} {'core' if cores == 1 else 'cores'}, at least {CLAIMED_FACTOR} x fair-esm's converter"
    if found is None:
        return Claim(text, "n/a", None)
    rates = found["tokens_per_s"]
    factors = [rate / rates[FAIR_ESM] for name, rate in rates.items() if name != FAIR_ESM]
    shown = "{:,.0f} x" + f", and {min(factors):,.0f} x with the worst number of workers"
    return at_least(text, max(factors), CLAIMED_FACTOR, shown)


if __name__ == "__main__":
    main()
