# SPDX-License-Identifier: MIT
"""Measure what a live view costs a run: packed inference with and without it, in one process, in ABBA order.

The claim: not distinguishable from 1, and drawings take at most 0.2 % of one core. The view is drawn on a real
pseudo-terminal, which another process reads. Both halves are profiled and counted as the commands do it.
`--model none` runs batches of pure Python instead, which hold the interpreter all the time: the worst case, and the one
with the least noise on a machine without a GPU.
"""

from __future__ import annotations

import argparse
import fcntl
import gc
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter, thread_time
from types import SimpleNamespace
from typing import Final

import torch

from benchmarks.packed_pass import PackedPass, add_options
from benchmarks.paired import MIN_PAIRS, bare_goes_first, number_of_pairs, ratio_of_pairs
from benchmarks.progress import say
from benchmarks.report import parser, publish
from virnuc_profiler import AsyncInferenceRunner, BatchProfiler
from virnuc_profiler.capture.sampling.live_reading import latest_reading
from virnuc_profiler.cli.live.run_progress import RunProgress
from virnuc_profiler.cli.live.screen import EVERY_S, Screen
from virnuc_profiler.cli.live.view_rows import rendered
from virnuc_profiler.inference.esm2.config import resolve_model_name
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.trial.loaded_model import LiveFigures
from virnuc_profiler.targets.knobs.configuration import BASELINE

NO_MODEL: Final = "none"

MAX_SHARE: Final = 0.002
"""Share of a core that drawings may take."""

HEADER: Final = ("model", "batches x pairs", "time, with / without [95 %]", "loop's CPU time", "a drawing", "of a core")


@dataclass(frozen=True, slots=True)
class Half:
    """One half of a pair: wall time, and CPU time of the thread that runs the batches."""

    seconds: float
    cpu_seconds: float


def main() -> None:
    """Measure, and print progress, a table and the verdict."""
    arguments = parse_arguments()
    work: PackedPass | PythonWork = PythonWork()
    if arguments.model != NO_MODEL:
        resolve_model_name(arguments.model)
        work = PackedPass(arguments.model, arguments)
    batches = work.batches_in(arguments.segment_s, work.warm_up(arguments.warm_up_s))
    with terminal():
        drawing_s = seconds_per_drawing(work, batches)
        bare, live = pairs(work, batches, arguments.pairs)
    ratio = ratio_of_pairs([half.seconds for half in live], [half.seconds for half in bare])
    cpu_ratio = ratio_of_pairs([half.cpu_seconds for half in live], [half.cpu_seconds for half in bare])
    share = drawing_s / EVERY_S
    figures = {
        "bare": [asdict(half) for half in bare],
        "live": [asdict(half) for half in live],
        "ratio": asdict(ratio),
        "cpu_ratio": asdict(cpu_ratio),
        "drawing_s": drawing_s,
        "share_of_core": share,
    }
    shown = [f"x{one.typical:.4f} [{one.low:.4f}, {one.high:.4f}]" for one in (ratio, cpu_ratio)]
    row = (arguments.model, f"{batches} x {ratio.pairs}", *shown, f"{1e6 * drawing_s:.0f} us", f"{share:.3%}")
    publish("A run with a live view over one without", HEADER, [row], figures, arguments.json)
    held = share <= MAX_SHARE and ratio.low <= 1
    print(f"{'PASS' if held else 'FAIL'}: claimed is at most {MAX_SHARE:.1%} of a core, and a ratio that may be 1")


class PythonWork:
    """Batches of pure Python, of about a millisecond each, with the interface of a pass over packs."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.packs = [SimpleNamespace(statistics=SimpleNamespace(sequences=19, tokens=4000))]

    def run(self, batches: int, profiler: BatchProfiler) -> Iterator[int]:
        """Yield each batch once it is done."""
        for number in profiler.batches(range(batches), stage=None):
            with profiler.stage("forward"):
                sum(value * value for value in range(20_000))
            yield number

    def warm_up(self, seconds: float) -> float:
        """Return the seconds of a batch."""
        start, batches = perf_counter(), 0
        with BatchProfiler(device="cpu") as profiler:
            for _ in self.run(10_000_000, profiler):
                batches += 1
                if perf_counter() - start >= max(seconds, 0.5):
                    break
        return (perf_counter() - start) / batches

    def batches_in(self, seconds: float, batch_s: float) -> int:
        """Return how many batches take about this long."""
        return max(3, round(seconds / batch_s))

    def wait_for_device(self) -> None:
        """Do nothing: there is no device."""


def parse_arguments() -> argparse.Namespace:
    """Parse the options. With the defaults, an H200 takes about 90 s."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument(
        "--model",
        default="8M",
        help="the smaller, the more the host sets the pace; none: batches of Python (default: 8M)",
    )
    pairs_help = f"number of pairs, at least {MIN_PAIRS} (default: 20)"
    options.add_argument("--pairs", type=number_of_pairs, default=20, help=pairs_help)
    options.add_argument("--segment-s", type=float, default=2.0, help="seconds per half of a pair (default: 2)")
    add_options(options)
    return options.parse_args()


def pairs(work: PackedPass | PythonWork, batches: int, count: int) -> tuple[list[Half], list[Half]]:
    """Measure this many pairs; return the halves without a view, and those with one."""
    bare: list[Half] = []
    live: list[Half] = []
    for pair in range(count):
        for with_view in (False, True) if bare_goes_first(pair) else (True, False):
            (live if with_view else bare).append(half(work, batches, with_view=with_view))
        without, ratio = bare[-1].seconds, live[-1].seconds / bare[-1].seconds
        say(f"  pair {pair + 1} of {count}: {without:.3f} s without, x{ratio:.4f} with the view")
    return bare, live


def half(work: PackedPass | PythonWork, batches: int, *, with_view: bool) -> Half:
    """Return the times of this many batches; what begins and ends a view is not timed."""
    progress = progress_of(work, batches)
    gc.collect()
    with BatchProfiler(device=work.device) as profiler:
        if not with_view:
            return _run(work, profiler, batches, progress)
        with Screen(rendered(progress.rows)):
            return _run(work, profiler, batches, progress)


def _run(work: PackedPass | PythonWork, profiler: BatchProfiler, batches: int, progress: RunProgress) -> Half:
    if isinstance(work, PythonWork):
        done: Iterable[object] = work.run(batches, profiler)
    else:
        runner = AsyncInferenceRunner(work.model, work.device, profiler=profiler)
        done = runner.run(islice(cycle(work.packs), batches))
    work.wait_for_device()
    start, cpu_start = perf_counter(), thread_time()
    sequences = tokens = 0
    for number, _ in enumerate(done):
        statistics = work.packs[number % len(work.packs)].statistics
        sequences, tokens = sequences + statistics.sequences, tokens + statistics.tokens
        progress.count_tokens(tokens)
        progress.count_sequences(sequences)
    work.wait_for_device()
    return Half(perf_counter() - start, thread_time() - cpu_start)


def progress_of(work: PackedPass | PythonWork, batches: int) -> RunProgress:
    """Return the progress of a run of this many batches."""
    per_batch = work.packs[0].statistics
    sequences, tokens = batches * per_batch.sequences, batches * per_batch.tokens
    workload = Workload(Path("packs"), "generated", sequences, sequences, tokens, per_batch.tokens, "")
    return RunProgress(workload, BASELINE, lambda: LiveFigures(gpu=latest_reading()))


def seconds_per_drawing(work: PackedPass | PythonWork, batches: int, drawings: int = 200) -> float:
    """Return the CPU time of one drawing, which is the time for which a run may have to wait for it."""
    progress = progress_of(work, batches)
    progress.count_tokens(1000)
    with Screen(rendered(progress.rows), every_s=3600.0) as screen:
        began = thread_time()
        for _ in range(drawings):
            screen.draw()
        return (thread_time() - began) / drawings


@contextmanager
def terminal() -> Iterator[None]:
    """Let stderr be a terminal of its own, which another process reads."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    reader = subprocess.Popen(["cat"], stdin=primary, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(primary)
    before, sys.stderr = sys.stderr, os.fdopen(secondary, "w")
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = before
        reader.wait()


if __name__ == "__main__":
    main()
