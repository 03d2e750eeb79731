# SPDX-License-Identifier: MIT
"""Measure what profiling costs a whole run: packed inference with and without BatchProfiler, in ABBA order.

The claim: at most x1.005 with 8M, and at most x1.001 or not distinguishable from 1 with 650M and 3B, in batches of
4,096 tokens on an H200. torch.profiler is measured next to it, on the same work.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from time import perf_counter, sleep, thread_time
from typing import Any, Final

import torch

from benchmarks.gpu_state import GpuState, GpuStateReader
from benchmarks.packed_pass import PackedPass, add_options
from benchmarks.paired import MIN_PAIRS, Ratio, bare_goes_first, number_of_pairs, ratio_of_pairs
from benchmarks.report import parser, publish
from virnuc_profiler import BatchProfiler, RunResult
from virnuc_profiler.errors import VirnucError
from virnuc_profiler.inference.esm2.config import resolve_model_name

CLAIMED: Final = {"8M": 1.005, "650M": 1.001, "3B": 1.001}
PAIRS_AND_SECONDS: Final = {"8M": (90, 0.25), "650M": (26, 0.75), "3B": (16, 1.0)}
"""Pairs, and seconds of each half. Faster models are noisier, because the host sets their pace."""
OTHERS: Final = (16, 1.0)
LEAD_IN: Final = 0.1
"""Share of untimed work before each timed segment, because the device cools while a profiler starts and stops."""


def main() -> None:
    """Measure each model in turn. Print progress, then a table and the verdicts."""
    arguments = parse_arguments()
    models = arguments.models.split(",")
    for model_name in models:
        resolve_model_name(model_name)  # a misspelt one should not be found out after minutes
    attempts = {model_name: try_to_measure(model_name, arguments) for model_name in models}
    figures = {name: found for name, found in attempts.items() if found is not None}
    title = f"Profiled ({arguments.profiled}) over bare, batches of {arguments.token_budget:,} tokens"
    publish(title, HEADER, [row(name, found) for name, found in figures.items()], figures, arguments.json)
    for name, found in figures.items():
        print(f"{name}: {found['verdict']}")
    if len(figures) < len(models):
        raise SystemExit("not all models could be measured")


def try_to_measure(model_name: str, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Measure a model, or return None if that failed, for example for lack of memory; the other models still count."""
    try:
        return measure_model(model_name, arguments)
    except (RuntimeError, VirnucError):
        say(f"{model_name}: failed\n{traceback.format_exc()}")
        return None


def parse_arguments() -> argparse.Namespace:
    """Parse the options. With the defaults, all models take about 150 s on an H200."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--models", default="8M,650M,3B")
    pairs_help = f"number of pairs, at least {MIN_PAIRS} (default: 90 at 8M, 26 at 650M, else 16)"
    options.add_argument("--pairs", type=number_of_pairs, help=pairs_help)
    options.add_argument(
        "--segment-s", type=float, help="seconds per half of a pair (default: 0.25 at 8M, 0.75 at 650M, else 1.0)"
    )
    options.add_argument(
        "--profiled",
        choices=("all", "no-sampling", "nothing"),
        default="all",
        help="what is on in the profiled half; `nothing` compares bare with bare to show the noise",
    )
    options.add_argument("--skip-torch-profiler", action="store_true")
    add_options(options)
    return options.parse_args()


def measure_model(model_name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all figures of one model, ready for JSON."""
    say(f"{model_name}: loading")
    work = PackedPass(model_name, arguments)
    pairs, segment_s = PAIRS_AND_SECONDS.get(model_name, OTHERS)
    pairs, segment_s = arguments.pairs or pairs, arguments.segment_s or segment_s
    batches = work.batches_in(segment_s, work.warm_up(arguments.warm_up_s))
    comparison = Comparison(work, batches, arguments.profiled)
    comparison.profiled()  # the first use of NVTX, NVML and events is dearer than all others
    bare, profiled = comparison.pairs(pairs)
    ratio = ratio_of_pairs([half.seconds for half in profiled], [half.seconds for half in bare])
    cpu_ratio = ratio_of_pairs([half.cpu_seconds for half in profiled], [half.cpu_seconds for half in bare])
    say(f"{model_name}: x{ratio.typical:.4f} [{ratio.low:.4f}, {ratio.high:.4f}]")
    figures = {
        "batches": batches,
        "bare": [asdict(half) for half in bare],
        "profiled": [asdict(half) for half in profiled],
        "ratio": asdict(ratio),
        "cpu_ratio": asdict(cpu_ratio),
        "verdict": verdict(ratio, CLAIMED.get(model_name) if arguments.profiled == "all" else None),
        "torch_profiler": None,
    }
    del work, comparison
    free_device_memory()
    if not arguments.skip_torch_profiler:
        say(f"{model_name}: torch.profiler, in a process of its own")
        figures["torch_profiler"] = torch_profiler_figures(model_name, arguments)
    return figures


@dataclass(frozen=True, slots=True)
class Half:
    """One half of a pair. CPU time is that of the loop's thread; sleeping while it waits for the device costs none."""

    seconds: float
    cpu_seconds: float
    state: GpuState | None


class Comparison:
    """Time segments of the same batches, bare and profiled."""

    def __init__(self, work: PackedPass, batches: int, what_is_on: str) -> None:
        self._work = work
        self._batches = batches
        self._lead_in = max(2, int(LEAD_IN * batches))
        self._state = GpuStateReader(work.device)
        self._start_s = self._stop_s = 0.0
        self._profiler = None
        if what_is_on != "nothing":
            self._profiler = BatchProfiler(device=work.device, sample_gpu=what_is_on == "all")

    def pairs(self, count: int) -> tuple[list[Half], list[Half]]:
        """Measure this many pairs in the order that cancels drift. Return the bare halves and the profiled ones."""
        bare, profiled = [], []
        for pair in range(count):
            halves = [(bare, self.bare), (profiled, self.profiled)]
            for results, measure in halves if bare_goes_first(pair) else reversed(halves):
                results.append(measure())
            latest = profiled[-1].seconds / bare[-1].seconds
            if (pair + 1) % 10 == 0 or count < 10:
                say(f"  pair {pair + 1} of {count}: {bare[-1].seconds:.3f} s bare, x{latest:.4f} profiled")
        return bare, profiled

    def bare(self) -> Half:
        """Time a segment in which no profiler thread is running.

        The device rests before and after as long as it does while a profiler starts and stops, because a GPU at its
        power limit is faster after a rest.
        """
        sleep(self._start_s)
        half = self._segment(None)
        sleep(self._stop_s)
        return half

    def profiled(self) -> Half:
        """Time a segment inside a run. The run's start and end are not timed."""
        if self._profiler is None:
            return self.bare()
        began = perf_counter()
        self._profiler.start()
        self._start_s = perf_counter() - began
        half = self._segment(self._profiler)
        ended = perf_counter()
        check_complete(self._profiler.stop(), self._lead_in + self._batches, self._work.device)
        self._stop_s = perf_counter() - ended
        return half

    def _segment(self, profiler: BatchProfiler | None) -> Half:
        gc.collect()  # what the last run left behind is not this segment's
        gc.disable()  # nor is its turn to collect
        try:
            self._work.seconds(self._lead_in, profiler)
            cpu_before = thread_time()
            seconds = self._work.seconds(self._batches, profiler)
            return Half(seconds, thread_time() - cpu_before, self._state.read())
        finally:
            gc.enable()


def check_complete(run: RunResult, batches: int, device: torch.device) -> None:
    """Check that the profiler measured everything; one that missed something would look cheap."""
    if len(run.batches) != batches:
        raise RuntimeError(f"{len(run.batches)} of {batches} batches were recorded")
    if device.type == "cuda" and (not run.device.timed or run.device.dropped_batches):
        raise RuntimeError(f"{run.device.dropped_batches} batches without device times; {run.device.reason}")


def verdict(ratio: Ratio, claimed: float | None) -> str:
    """Return what the figures say about the claim. With the larger models, any ratio that could be 1 satisfies it."""
    found = f"x{ratio.typical:.4f}"
    if claimed is None:
        return f"{found}; nothing is claimed for this"
    bound = f"claimed is at most x{claimed}"
    may_be_1 = claimed < CLAIMED["8M"] and not ratio.distinguishable_from_1
    if ratio.typical > claimed and not may_be_1:
        return f"FAIL: {found}, {bound}"
    if ratio.high > claimed:
        return f"PASS, but not settled: {found}, the interval reaches x{ratio.high:.4f}, {bound}"
    return f"PASS: {found}, at most x{ratio.high:.4f} with 97.5 % confidence, {bound}"


def torch_profiler_figures(model_name: str, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Return the figures of benchmarks.torch_profiler_cost, or None if it failed; the other figures still count."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "benchmarks.torch_profiler_cost", "--model", model_name, "--json", str(found)]
        command += ["--device", arguments.device, "--token-budget", str(arguments.token_budget)]
        command += ["--num-sequences", str(arguments.num_sequences)]
        command += ["--warm-up-s", str(min(1.0, arguments.warm_up_s))]  # its factors are large: heat does not matter
        command += ["--precision", arguments.precision] if arguments.precision else []
        command += ["--segment-s", str(arguments.segment_s / 2)] if arguments.segment_s else []
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            say(f"{model_name}: torch.profiler failed: {error}\n{error.stderr}")
            return None
        figures: dict[str, Any] = json.loads(found.read_text())["figures"]
        return figures


HEADER: Final = (
    "model",
    "batches x pairs",
    "bare ms/batch",
    "profiled/bare",
    "95 %",
    "mean",
    "95 % of the mean",
    "loop's CPU time",
    "SM MHz bare/profiled",
    "W bare/profiled",
    "torch.profiler: recording",
    "with collection",
)


def row(model_name: str, figures: dict[str, Any]) -> list[str]:
    """Return a row of the table."""
    ratio, cpu, torchs = figures["ratio"], figures["cpu_ratio"], figures["torch_profiler"]
    bare_s = mean(half["seconds"] for half in figures["bare"])
    return [
        model_name,
        f"{figures['batches']} x {ratio['pairs']}",
        f"{bare_s / figures['batches'] * 1e3:.3f}",
        f"x{ratio['typical']:.4f}",
        f"{ratio['low']:.4f} to {ratio['high']:.4f}",
        f"x{ratio['mean']:.4f}",
        f"{ratio['mean_low']:.4f} to {ratio['mean_high']:.4f}",
        f"x{cpu['typical']:.4f} ({cpu['low']:.4f} to {cpu['high']:.4f})",
        *(state_of(figures, key) for key in ("sm_clock_mhz", "power_w")),
        *("n/a" if torchs is None else f"x{torchs[key]:.2f}" for key in ("recording", "with_collection")),
    ]


def state_of(figures: dict[str, Any], key: str) -> str:
    """Return means over the bare and over the profiled halves."""
    halves: Sequence[Sequence[dict[str, Any]]] = (figures["bare"], figures["profiled"])
    if any(half["state"] is None for variant in halves for half in variant):
        return "n/a"
    return "/".join(f"{mean(half['state'][key] for half in variant):,.0f}" for variant in halves)


def free_device_memory() -> None:
    """Free device memory for the other process that runs the same model."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def say(text: str) -> None:
    """Print progress with the seconds since the start."""
    print(f"[{perf_counter() - STARTED:6.1f} s] {text}", flush=True)


STARTED: Final = perf_counter()

if __name__ == "__main__":
    main()
