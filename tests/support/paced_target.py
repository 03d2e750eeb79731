# SPDX-License-Identifier: MIT
"""A target of known speed: the time of a batch has a fixed part, so that larger batches are faster."""

import time
from itertools import islice

import numpy as np

from virnuc_profiler.inference.packing.pack_statistics import pack_statistics
from virnuc_profiler.targets.knobs.knob import BooleanKnob, ChoiceKnob, IntegerKnob

BATCH_S = 2e-3
TOKEN_S = 2e-6
FACTORS = {"plain": 2.0, "fast": 1.0}


class PacedTarget:
    """Sleeps instead of computing.

    Batches of more than 64 sequences run out of memory.
    """

    min_packing = None

    def __init__(self, options):
        self.options = options

    def describe(self):
        return {"name": "paced", "model_name": self.options.model or "sleeper", "versions": {"paced": "1.0"}}

    def knobs(self):
        return (
            IntegerKnob(name="batch_size", default=4, low=1, high=128, tries=(4, 16), help="sequences of a batch"),
            BooleanKnob(name="compile", default=False, tries=(False,), help="does nothing"),
            ChoiceKnob(name="mode", default="plain", choices=("plain", "fast"), help="how fast it is"),
        )

    def run(self, workload, configuration, profiler):
        records = workload.records()
        while batch := list(islice(records, configuration.batch_size)):
            tokens = np.array([len(residues) + 2 for _, residues in batch])
            padded = len(batch) * int(tokens.max())
            with profiler.begin_batch() as measured:
                with measured.stage("forward"):
                    if len(batch) > 64:
                        raise RuntimeError("CUDA out of memory. Tried to allocate 1 PiB")
                    time.sleep(FACTORS[configuration.mode] * (BATCH_S + TOKEN_S * int(tokens.sum())))
                measured.set_packing(pack_statistics(np.concatenate([[0], np.cumsum(tokens)]).astype(np.int32), padded))
            yield len(batch)


def make(options):
    """Make the target."""
    return PacedTarget(options)
