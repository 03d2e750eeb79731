# SPDX-License-Identifier: MIT
"""Measure throughput after running out of device memory, against a process that never did.

The device's memory is filled except for a few GB, so that its driver refuses what a large token budget asks for, in the
middle of a batch. That is done 20 times, with a good configuration after each. The claim: the good ones reach 98 % of a
fresh process's rate, within the doubt that the fresh trials leave, and the process holds the same memory after each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import torch

from benchmarks.claim import Claim
from benchmarks.report import parser, print_table, publish
from benchmarks.supervision_cost import hide_main_module
from virnuc_profiler.inference.esm2.config import resolve_model_name
from virnuc_profiler.inference.placement import resolve_device
from virnuc_profiler.sweep.plan.request import Request
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.trial.measured_model import MeasuredModel
from virnuc_profiler.targets.knobs.configuration import Configuration

GOOD: Final = Configuration(0, 2, 4096, 500)
TOO_LARGE: Final = Configuration(0, 2, 200_000, 2000)
GB: Final = 10**9
SHORTFALL: Final = 0.02
"""Accepted loss of speed against a fresh process."""
MAX_SHORTFALL: Final = 0.05
"""Largest accepted loss if the fresh process's own trials are noisy."""
HEADER: Final = ("tokens/s of good configurations", "trials", "median", "lowest", "highest")


def main() -> None:
    """Print what was measured and the verdicts; in the fresh process, print only the rates."""
    hide_main_module()
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(arguments, Path(folder))
        if arguments.fresh:
            print("\n" + json.dumps([trials.good()[0] for _ in range(arguments.rounds)]))
            return
        before = [trials.good() for _ in range(3)]
        ballast = fill_up(trials.device, arguments.free_gb)
        after = []
        for _ in range(arguments.rounds):
            trials.run_out_of_memory()
            after.append(trials.good())
        del ballast, trials
        torch.cuda.empty_cache()
        fresh = rates_of_a_fresh_process(arguments)
    report(arguments, before, after, fresh)


def parse_arguments() -> argparse.Namespace:
    """Parse the options. The defaults take about a minute on an H200."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--model", default="650M")
    options.add_argument("--device", default="cuda")
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--free-gb", type=float, default=2.0, help="device memory that stays free, in GB")
    options.add_argument("--num-sequences", type=int, default=1000)
    options.add_argument("--fresh", action="store_true", help=argparse.SUPPRESS)
    return options.parse_args()


class Trials:
    """A model in this process, and its configurations."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.device = resolve_device(arguments.device)
        self._folder = folder
        request = Request(
            folder,
            self.device,
            resolve_model_name(arguments.model),
            num_sequences=arguments.num_sequences,
            weights="random",
            cooldown_s="auto",
            try_all=True,
        )
        self._workload: Workload = request.workload()
        self._model = MeasuredModel(request)
        self._model.warm_up(self._workload, 0)
        self.good()  # the first of a process takes work spaces, and meets its lengths for the first time

    def good(self) -> tuple[float, int]:
        """Return tokens/s, and the bytes that the process holds afterwards.

        Raises:
            RuntimeError: The trial failed.
        """
        result = self._run(GOOD)
        if not result.succeeded or result.tokens_per_sec is None:
            raise RuntimeError(f"a good configuration failed: {result.message}")
        return result.tokens_per_sec, torch.cuda.memory_allocated(self.device)

    def run_out_of_memory(self) -> None:
        """Try a configuration that does not fit.

        Raises:
            RuntimeError: The trial did not fail for lack of memory.
        """
        result = self._run(TOO_LARGE)
        if (result.reason, result.memory) != ("OOM", "device"):
            raise RuntimeError(f"it did not run out of memory: {result.message or result.status}")

    def _run(self, configuration: Configuration) -> Result:
        return self._model.run_trial(self._workload, configuration, self._folder, lambda _: None)


def fill_up(device: torch.device, free_gb: float) -> torch.Tensor:
    """Allocate the device's free memory except for this much, through the driver, so that nothing else can use it."""
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return torch.empty(free - round(free_gb * GB), dtype=torch.uint8, device=device)


def rates_of_a_fresh_process(arguments: argparse.Namespace) -> list[float]:
    """Return the tokens/s of good configurations in a process that never ran out of memory."""
    command = [
        *(sys.executable, "-m", "benchmarks.recovery", "--fresh", "--model", arguments.model),
        *("--device", arguments.device, "--rounds", str(arguments.rounds)),
        *("--num-sequences", str(arguments.num_sequences)),
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rates: list[float] = json.loads(output.splitlines()[-1])
    return rates


def report(
    arguments: argparse.Namespace, before: list[tuple[float, int]], after: list[tuple[float, int]], fresh: list[float]
) -> None:
    """Print and write the results."""
    rates = {"before": [r for r, _ in before], "after out of memory": [r for r, _ in after], "fresh process": fresh}
    rows = [(name, str(len(r)), f"{median(r):,.0f}", f"{min(r):,.0f}", f"{max(r):,.0f}") for name, r in rates.items()]
    held = [held for _, held in after]
    speed = speed_after(rates["after out of memory"], fresh)
    claims = [
        speed_claim(speed),
        Claim(
            "the process holds the same after each",
            f"{min(held):,} to {max(held):,} bytes",
            min(held) == max(held),
        ),
    ]
    title = f"{arguments.model}: {GOOD} after each of {arguments.rounds} times out of memory with {TOO_LARGE}"
    figures = {"rates": rates, "blocking_stagetes": held, **asdict(speed)}
    publish(title, HEADER, rows, figures, arguments.json)
    print()
    print_table(("", "claim", "measured"), [(claim.verdict, claim.text, claim.measured) for claim in claims])


@dataclass(frozen=True, slots=True)
class Speed:
    """Rates relative to those of a fresh process.

    Attributes:
        ratio: Median divided by median.
        spread: Range of the fresh trials divided by their median. One cold trial makes it large, so no verdict uses it.
        middle_half: Interquartile range of the fresh trials divided by their median.
    """

    ratio: float
    spread: float
    middle_half: float

    @property
    def least(self) -> float:
        """Return the ratio that the claim requires."""
        return 1 - min(max(SHORTFALL, self.middle_half), MAX_SHORTFALL)


def speed_after(after: Sequence[float], fresh: Sequence[float]) -> Speed:
    """Compare two lists of rates in the same unit."""
    lowest, lower, middle, upper, highest = np.quantile(fresh, [0, 0.25, 0.5, 0.75, 1]).tolist()
    return Speed(median(after) / middle, (highest - lowest) / middle, (upper - lower) / middle)


def speed_claim(speed: Speed) -> Claim:
    """Claim that the speed is that of a fresh process, within a bound that a single trial cannot move."""
    text = f"at least {1 - SHORTFALL:.0%} as fast as a fresh process (less if the middle half of its trials lies wider "
    text += f"apart than that leaves, but never below {1 - MAX_SHORTFALL:.0%})"
    measured = f"x{speed.ratio:.4f} between medians, x{speed.least:.3f} asked for; fresh trials, over their median: "
    measured += f"slowest to fastest {speed.spread:.1%}, middle half {speed.middle_half:.1%}"
    return Claim(text, measured, speed.ratio >= speed.least)


if __name__ == "__main__":
    main()
