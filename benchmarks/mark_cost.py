# SPDX-License-Identifier: MIT
"""Measure what marking a stage boundary costs the host, against the bare calls and against PyTorch's own instruments.

A mark ends one stage and starts the next: one event, one NVTX pop, and one push. PyTorch needs two events per stage.
Marks come in bursts, as a loop's batches do. "Without a pause" is the worst case, in which the thread that collects the
times competes with the one that marks.
"""

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter_ns, sleep

import nvtx
import torch

from benchmarks.report import parser, publish
from virnuc_profiler._core import Timeline

CALLS = 800
ROUNDS = 60
SUSTAINED_CALLS = 100_000
PAUSE_S = 0.005


def main() -> None:
    """Measure all alternatives in turn, so that none benefits from a warmer machine, and print their medians."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--include", type=Path, action="append", default=[], help="folder that contains nvtx3/")
    arguments = options.parse_args()
    torch.cuda.init()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        alternatives = all_alternatives(stream, arguments.include)
        figures: dict[str, list[float]] = {name: [] for name in alternatives}
        for _ in range(ROUNDS):
            for name, measure in alternatives.items():
                figures[name].append(measure())
                torch.cuda.synchronize()
                sleep(PAUSE_S)
        everything = {"device": 0, "nvtx_on": True, "events": 2 * SUSTAINED_CALLS}  # or marks would go without
        sustained = [marks_ns(timeline(stream.cuda_stream, **everything), SUSTAINED_CALLS) for _ in range(5)]
        figures["ours, all on, without a pause"] = sustained
    medians = {name: median(values) for name, values in figures.items()}
    floor = medians["bare cuEventRecord"] + medians["bare NVTX push + pop"]
    rows = [[name, f"{ns:,.0f}", f"{min(figures[name]):,.0f}", f"{ns / floor:.2f}"] for name, ns in medians.items()]
    header = ["per stage boundary", "median ns", "least ns", "x (bare event + bare NVTX)"]
    publish("Cost of a stage boundary", header, rows, medians, arguments.json)
    print()
    for claim, holds in claims(medians, floor).items():
        print(f"{'PASS' if holds else 'FAIL'}  {claim}")


def claims(medians: dict[str, float], floor: float) -> dict[str, bool]:
    """Return what is claimed about a mark with everything on, and whether it held."""
    ours = medians["ours, all on"]
    bound = 1.25 * floor + 200
    torch_ns = medians["torch.cuda.Event, a pair"] + medians["torch.cuda.nvtx push + pop"]
    return {
        f"ours {ours:,.0f} ns <= 1.25 x ({floor:,.0f} ns bare) + 200 ns = {bound:,.0f} ns": ours <= bound,
        f"{torch_ns / ours:.1f} x cheaper than a pair of torch events with torch.cuda.nvtx, >= 4": torch_ns >= 4 * ours,
    }


def all_alternatives(stream: torch.cuda.Stream, includes: list[Path]) -> dict[str, Callable[[], float]]:
    """Map names to functions that measure nanoseconds per call."""
    bare = build_bare_calls(includes)
    handle = stream.cuda_stream
    timelines = {
        "ours, all on": timeline(handle, device=0, nvtx_on=True),
        "ours, NVTX off": timeline(handle, device=0, nvtx_on=False),
        "ours, device off": timeline(handle, device=None, nvtx_on=True),
        "ours, both off": timeline(handle, device=None, nvtx_on=False),
    }
    return {
        "bare cuEventRecord": lambda: bare.bare_event_record_ns(handle, CALLS),
        "bare NVTX push + pop": lambda: bare.bare_nvtx_ns(CALLS),
        **{name: lambda ours=ours: marks_ns(ours) for name, ours in timelines.items()},
        "torch.cuda.Event, a pair": torch_events_ns,
        "torch.cuda.nvtx push + pop": torch_nvtx_ns,
        "nvtx (Python) push + pop": python_nvtx_ns,
    }


def timeline(stream: int, *, device: int | None, nvtx_on: bool, events: int = 4096) -> Timeline:
    """Make a timeline of two stages, both on the device if there is one."""
    return Timeline(["a", "b"], ["a", "b"], device=device, stream=stream, nvtx=nvtx_on, event_pool_size=events)


def marks_ns(ours: Timeline, calls: int = CALLS) -> float:
    """Measure one mark, in batches of ten."""
    batches = [ours.begin_batch(index) for index in range(calls // 10)]
    start = perf_counter_ns()
    for batch in batches:
        for _ in range(5):
            batch.mark("a")
            batch.mark("b")
    elapsed = perf_counter_ns() - start
    for batch in batches:
        batch.end()
    return elapsed / calls


def torch_events_ns() -> float:
    """Measure a pair of events for one stage, created beforehand."""
    pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(CALLS)]
    start = perf_counter_ns()
    for first, second in pairs:
        first.record()
        second.record()
    return (perf_counter_ns() - start) / CALLS


def torch_nvtx_ns() -> float:
    """Measure PyTorch's own NVTX ranges."""
    start = perf_counter_ns()
    for _ in range(CALLS):
        torch.cuda.nvtx.range_push("stage")
        torch.cuda.nvtx.range_pop()
    return (perf_counter_ns() - start) / CALLS


def python_nvtx_ns() -> float:
    """Measure the Python package nvtx with prepared attributes in a domain."""
    domain = nvtx.get_domain("mark_cost")
    attributes = domain.get_event_attributes("stage")
    start = perf_counter_ns()
    for _ in range(CALLS):
        domain.push_range(attributes)
        domain.pop_range()
    return (perf_counter_ns() - start) / CALLS


def build_bare_calls(includes: list[Path]) -> ctypes.CDLL:
    """Compile native/bare_calls.cpp. NVTX's headers come from nvidia-nvtx, a CUDA toolkit, or `includes`."""
    source = Path(__file__).parent / "native" / "bare_calls.cpp"
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "bare_calls.so"
        paths = [f"-I{path}" for path in [*includes, Path("/usr/local/cuda/include")]]
        command = ["g++", "-std=c++20", "-O2", "-shared", "-fPIC", *paths, str(source), "-o", str(library), "-ldl"]
        subprocess.run(command, check=True)
        bare = ctypes.CDLL(str(library))
    bare.bare_event_record_ns.restype = bare.bare_nvtx_ns.restype = ctypes.c_double
    bare.bare_event_record_ns.argtypes = [ctypes.c_size_t, ctypes.c_int64]
    bare.bare_nvtx_ns.argtypes = [ctypes.c_int64]
    return bare


if __name__ == "__main__":
    main()
