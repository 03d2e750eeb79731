# SPDX-License-Identifier: MIT
"""Measure what supervision costs: the same small trials in a model process and in one process, in alternating blocks.

The claim: 26 trials, as many as a default sweep has, take at most 1.10 times as long in total. It is judged by the
sums, in which a few slow trials count in full; the typical pair is shown next to it. Loading and warming up are
measured separately: they happen once in either case, and supervision only adds the start of its own process to them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

from benchmarks.claim import Claim
from benchmarks.paired import (
    MIN_PAIRS,
    TotalRatio,
    bare_goes_first,
    number_of_pairs,
    ratio_of_pairs,
    ratio_of_totals,
)
from benchmarks.report import parser, publish
from virnuc_profiler.inference.esm2.config import resolve_model_name
from virnuc_profiler.inference.placement import resolve_device
from virnuc_profiler.sweep.plan.request import Request
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.trial.loaded_model import LoadedModel
from virnuc_profiler.sweep.trial.measured_model import MeasuredModel
from virnuc_profiler.sweep.worker.deadlines import Timeouts
from virnuc_profiler.sweep.worker.supervised_model import SupervisedModel
from virnuc_profiler.sweep.worker.supervisor import Supervisor
from virnuc_profiler.targets.knobs.configuration import Configuration

MOST: Final = 1.10
HEADER: Final = ("", "one process", "supervised", "ratio")


def main() -> None:
    """Print the times of both variants, and the verdict."""
    hide_main_module()
    arguments = parse_arguments()
    configuration = Configuration(arguments.num_workers, 2, 2048, 200)
    with tempfile.TemporaryDirectory() as name, ExitStack() as models:
        folder = Path(name)
        request = Request(
            folder,
            resolve_device(arguments.device),
            resolve_model_name(arguments.model),
            num_sequences=arguments.num_sequences,
            weights="random",
            cooldown_s=0.0,
        )
        workload = request.workload()
        loading, trials = [], []
        for load in (MeasuredModel, lambda request: SupervisedModel(request, Supervisor(Timeouts()))):
            began = perf_counter()
            model: LoadedModel = load(request)
            models.callback(model.close)
            model.warm_up(workload, min(1, configuration.num_workers))
            loading.append(perf_counter() - began)
            trials.append(partial(seconds_of_trial, model, workload, configuration, folder))
        here, there = measure(trials[0], trials[1], arguments.trials)
    report(f"Supervision, {arguments.model}, {configuration}", loading, here, there, arguments.json)


def hide_main_module() -> None:
    """Keep workers from importing this script, as multiprocessing does with the main module.

    Neither the command line nor a model process has such a module, so only the trials in one process would pay for it.
    """
    sys.modules["__main__"].__spec__ = None
    vars(sys.modules["__main__"]).pop("__file__", None)


def parse_arguments() -> argparse.Namespace:
    """Parse the options. The defaults take about two minutes on two CPU cores."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--model", default="8M")
    options.add_argument("--device", default="auto")
    trials_help = f"trials of each kind, at least {MIN_PAIRS}"
    options.add_argument("--trials", type=number_of_pairs, default=26, help=trials_help)
    options.add_argument("--num-sequences", type=int, default=8)
    options.add_argument("--num-workers", type=int, default=1)
    return options.parse_args()


def measure(here: Callable[[], float], there: Callable[[], float], trials: int) -> tuple[list[float], list[float]]:
    """Return the seconds of this many trials of each kind, in the order that cancels drift."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for pair in range(trials):
        for which in (0, 1) if bare_goes_first(pair) else (1, 0):
            seconds[which].append((here, there)[which]())
    return seconds


def seconds_of_trial(model: LoadedModel, workload: Workload, configuration: Configuration, folder: Path) -> float:
    """Return the wall time of a whole trial, from the request to the result.

    Raises:
        RuntimeError: The trial failed.
    """
    began = perf_counter()
    result = model.run_trial(workload, configuration, folder, lambda _: None)
    seconds = perf_counter() - began
    if not result.succeeded:
        raise RuntimeError(f"a trial failed: {result.message}")
    return seconds


def report(title: str, loading: list[float], here: list[float], there: list[float], json_path: Path | None) -> None:
    """Print and write the results, in seconds; the loading times are in one process first, then supervised."""
    total, pair = ratio_of_totals(there, here), ratio_of_pairs(there, here)
    rows = [
        ("load and warm up", f"{loading[0]:.2f} s", f"{loading[1]:.2f} s", f"x{loading[1] / loading[0]:.2f}"),
        (
            f"{total.pairs} trials in all",
            f"{sum(here):.2f} s",
            f"{sum(there):.2f} s",
            f"x{total.ratio:.3f} [{total.low:.3f}, {total.high:.3f}]",
        ),
        (
            "the typical trial",
            f"{median(here):.3f} s",
            f"{median(there):.3f} s",
            f"x{pair.typical:.3f} [{pair.low:.3f}, {pair.high:.3f}]",
        ),
    ]
    figures = {
        "loading_s": loading,
        "here_s": here,
        "supervised_s": there,
        "total_ratio": asdict(total),
        "ratio": asdict(pair),
    }
    publish(title, HEADER, rows, figures, json_path)
    claim = cost_claim(total)
    print(f"{claim.verdict} {claim.text}: {claim.measured}")


def cost_claim(total: TotalRatio) -> Claim:
    """Judge these trials. The interval tells whether other trials would have the same verdict."""
    measured = f"x{total.ratio:.3f} [{total.low:.3f}, {total.high:.3f}]"
    if total.low <= MOST < total.high:
        measured += ", not settled: the bound lies within the interval"
    return Claim(f"{total.pairs} supervised trials take at most x{MOST:.2f} in all", measured, total.ratio <= MOST)


if __name__ == "__main__":
    main()
