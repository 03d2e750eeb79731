# SPDX-License-Identifier: MIT
"""Measure what a claim in a folder costs a rank, against an addition in a TCPStore of torch.distributed.

A claim is needed once for each shard. Both are measured on this host, the store through its loopback interface.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Final

from torch.distributed import TCPStore

from benchmarks.claim import Claim
from benchmarks.report import parser, publish, publish_claims
from virnuc_profiler.ranks.claim_folder import ClaimFolder
from virnuc_profiler.ranks.rank import Rank

HEADER: Final = ("µs for each shard", "median", "95th percentile")
MAX_CLAIM_US: Final = 10_000.0


def main() -> None:
    """Print the costs."""
    options = parser(__doc__ or "")
    options.add_argument("--folder", type=Path, help="folder to claim in, e.g. on NFS (default: a temporary one)")
    options.add_argument("--count", type=int, default=1000, help="number of claims (default: 1000)")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        figures = {
            "a claim that is free": claim_us(Path(folder), arguments.count),
            "an addition in a TCPStore": store_us(arguments.count),
        }
    rows = [
        (name, f"{median(values):,.1f}", f"{sorted(values)[int(0.95 * len(values))]:,.1f}")
        for name, values in figures.items()
    ]
    publish("Cost of a claim", HEADER, rows, figures, arguments.json)
    found = median(figures["a claim that is free"])
    publish_claims([Claim("a claim takes less than 10 ms", f"{found:,.1f} µs", found < MAX_CLAIM_US)])


def claim_us(folder: Path, count: int) -> list[float]:
    """Return the time of each of `count` claims in a folder."""
    with ClaimFolder(folder / "claims", Rank(0, 2)) as claims:
        return [_timed(lambda key=f"shard_{number:06d}": claims.take(key)) for number in range(count)]


def store_us(count: int) -> list[float]:
    """Return the time of each of `count` additions in a store that this host serves."""
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    client = TCPStore("127.0.0.1", server.port, is_master=False, wait_for_workers=False)
    return [_timed(lambda: client.add("next", 1)) for _ in range(count)]


def _timed(call: object) -> float:
    started = perf_counter_ns()
    call()  # type: ignore[operator]
    return (perf_counter_ns() - started) / 1e3


if __name__ == "__main__":
    main()
