# SPDX-License-Identifier: MIT
"""A small program that turns sequences into vectors, as a target: it pads batches, and sleeps over their tokens."""

import time

import numpy as np

from virnuc_profiler import pack_statistics
from virnuc_profiler.targets.knobs.knob import IntegerKnob

SECONDS_PER_TOKEN = 1e-6


class ToyTarget:
    min_packing = None

    def __init__(self, options):
        self.precision = options.precision or "fp32"

    def describe(self):
        return {"name": "toy", "model_name": "none", "precision": self.precision, "versions": {"toy": "1"}}

    def knobs(self):
        return [IntegerKnob(name="batch_size", default=8, low=1, high=512, tries=(4, 8), help="sequences of a batch")]

    def run(self, workload, configuration, profiler):
        records = list(workload.records())
        size = configuration.batch_size
        for batch in profiler.batches([records[start : start + size] for start in range(0, len(records), size)]):
            lengths = np.array([len(residues) + 2 for _, residues in batch])
            ends = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
            profiler.current_batch.set_packing(pack_statistics(ends, int(len(batch) * lengths.max())))
            with profiler.stage("forward"):
                time.sleep(SECONDS_PER_TOKEN * int(lengths.sum()))
            yield len(batch)

    def probe(self, configuration, tokens):
        time.sleep(SECONDS_PER_TOKEN * tokens)


def make(options):
    return ToyTarget(options)
