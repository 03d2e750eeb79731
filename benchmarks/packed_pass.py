# SPDX-License-Identifier: MIT
"""Repeat packed inference over the same packs: the work that profilers are put around."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from itertools import cycle, islice
from math import ceil
from time import perf_counter

import torch

from virnuc_profiler import (
    AsyncInferenceRunner,
    BatchProfiler,
    SequenceDataset,
    VarlenCollator,
    create_async_dataloader,
    generate_tuning_workload,
    load_esm2_model,
)
from virnuc_profiler.inference.batches import PackedBatch
from virnuc_profiler.inference.esm2.model import PackedESM2
from virnuc_profiler.inference.placement import resolve_device


def add_options(options: argparse.ArgumentParser) -> None:
    """Add the options that all benchmarks of this work share. The defaults suit an H200, smaller values a laptop."""
    options.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to try the script itself")
    options.add_argument("--precision", help="precision of the model (default: bf16, on the CPU fp32)")
    options.add_argument("--token-budget", type=int, default=4096)
    options.add_argument(
        "--num-sequences", type=int, default=500, help="number of sequences of the sweep's workload, packed once"
    )
    options.add_argument("--warm-up-s", type=float, default=3.0, help="seconds of warm-up with the same work")


class PackedPass:
    """One ESM-2 model with random weights, and packs that wait in pinned memory.

    The pass over them is `AsyncInferenceRunner`'s own, which users run: it queues a batch while the device works on the
    previous one, and waits for a batch by its event. Without a profiler, the same code runs with marks that do nothing.
    Reading, encoding, and packing are excluded to avoid their noise.
    """

    def __init__(self, model_name: str, options: argparse.Namespace) -> None:
        self.device = resolve_device(options.device)
        on_gpu = self.device.type == "cuda"
        precision = options.precision or ("bf16" if on_gpu else "fp32")
        self.model: PackedESM2 = load_esm2_model(model_name, self.device, precision=precision, weights="random")[0]
        self.packs = _pack(options.num_sequences, options.token_budget, pin_memory=on_gpu)

    def seconds(self, batches: int, profiler: BatchProfiler | None = None) -> float:
        """Return the wall time of this many batches, until the device has finished all of them."""
        runner = AsyncInferenceRunner(self.model, self.device, profiler=profiler)
        self.wait_for_device()
        start = perf_counter()
        for _ in runner.run(islice(cycle(self.packs), batches)):
            pass
        self.wait_for_device()
        return perf_counter() - start

    def warm_up(self, seconds: float) -> float:
        """Run for at least this long and once over all packs. Return the seconds per batch at the end."""
        self.seconds(len(self.packs))  # the first run of each shape loads its kernels
        start = perf_counter()
        while True:
            batch_s = self.seconds(len(self.packs)) / len(self.packs)
            if perf_counter() - start >= seconds:
                return batch_s

    def batches_in(self, seconds: float, batch_s: float) -> int:
        """Return how many batches take at least this long."""
        return max(3, ceil(seconds / batch_s))

    def wait_for_device(self) -> None:
        """Return when no work is queued."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _pack(num_sequences: int, token_budget: int, *, pin_memory: bool) -> Sequence[PackedBatch]:
    """Pack the sweep's workload. The smaller batch that remains at the end is left out."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = SequenceDataset(generate_tuning_workload(folder, num_sequences=num_sequences))
        collator = VarlenCollator(max_tokens_per_batch=token_budget)
        loader = create_async_dataloader(dataset, collator, num_workers=0, pin_memory=pin_memory)
        packs = [packed for packed in loader if (packed.statistics.packing_efficiency or 0) > 0.97]
    if not packs:
        raise SystemExit(f"{num_sequences} sequences fill no pack of {token_budget} tokens: give more")
    return packs
