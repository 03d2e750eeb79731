# SPDX-License-Identifier: MIT
"""Measure what torch.profiler (CPU and CUDA activities) costs on packed inference, against the same process before it.

A process that has used torch.profiler once stays slower, so each model needs a process of its own.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import Any

from torch.profiler import ProfilerActivity, profile

from benchmarks.packed_pass import PackedPass, add_options
from benchmarks.report import parser, publish

RECORDINGS = 2


def main() -> None:
    """Measure one model and print a line."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--model", default="8M")
    options.add_argument("--segment-s", type=float, default=0.5, help="seconds of work per measurement")
    add_options(options)
    arguments = options.parse_args()
    work = PackedPass(arguments.model, arguments)
    batches = work.batches_in(arguments.segment_s, work.warm_up(arguments.warm_up_s))
    figures = measure(work, batches)
    header = ["model", "batches", "bare ms/batch", "x recording", "x with collection", "x afterwards"]
    row = [
        arguments.model,
        f"{batches}",
        f"{figures['bare_s'] / batches * 1e3:.3f}",
        *(f"{figures[name]:.2f}" for name in ("recording", "with_collection", "afterwards")),
    ]
    publish("torch.profiler over bare", header, [row], figures, arguments.json)


def measure(work: PackedPass, batches: int) -> dict[str, Any]:
    """Return medians as multiples of the bare time: while recording, with the collection of events, and afterwards."""
    bare_s = median(work.seconds(batches) for _ in range(3))  # before the profiler is used for the first time
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (work.device.type == "cuda")
    recordings, with_collections = [], []
    for _ in range(RECORDINGS):
        profiler = profile(activities=activities)
        profiler.start()  # sets CUPTI up, which is not counted
        recording_s = work.seconds(batches)
        stop_at = perf_counter()
        profiler.stop()
        recordings.append(recording_s)
        with_collections.append(recording_s + perf_counter() - stop_at)
    return {
        "bare_s": bare_s,
        "batches": batches,
        "recording": median(recordings) / bare_s,
        "with_collection": median(with_collections) / bare_s,
        "afterwards": median(work.seconds(batches) for _ in range(3)) / bare_s,
    }


if __name__ == "__main__":
    main()
