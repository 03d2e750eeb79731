# SPDX-License-Identifier: MIT
"""Randomized complete blocks: every configuration once, in an order that is different in each block.

Drift of the host or of the card then hits all of them equally, and comparisons within blocks cancel it. The order
follows from the seed, the step and the number of the block, so that a resumed sweep keeps it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from virnuc_profiler.sweep.measurement.listener import TrialRunner
from virnuc_profiler.sweep.measurement.trial_recorder import TrialRecorder
from virnuc_profiler.sweep.plan.steps import Step
from virnuc_profiler.sweep.results.remaining import configurations_of_block
from virnuc_profiler.targets.knobs.configuration import Configuration


def block_order(configurations: Sequence[Configuration], seed: int, step: str, block: int) -> tuple[Configuration, ...]:
    """Return the order in which a block measures its configurations.

    Those that share a model stay together, because another one must be loaded.

    Args:
        configurations: The configurations.
        seed: Seed of the sweep.
        step: Name of the step.
        block: Number of the block.
    """

    def place(name: str) -> bytes:
        return hashlib.sha256(f"{seed}/{step}/{block}/{name}".encode()).digest()

    return tuple(
        sorted(configurations, key=lambda one: (place(repr(sorted(one.values("model").items()))), place(one.run_id)))
    )


def measure_blocks(
    recorder: TrialRecorder, step: Step, baseline: Configuration, run: TrialRunner, *, repeats: int, seed: int
) -> None:
    """Measure the configurations of a step in blocks, except for those that are finished.

    A single block keeps the order of the grid. What fails in a block is left out of those after it.

    Args:
        recorder: Measures one configuration.
        step: The step.
        baseline: Configuration of the baseline.
        run: Runs a trial.
        repeats: Number of blocks.
        seed: Seed of the order.
    """
    configurations = configurations_of_block(step, baseline, repeats)
    blocks = [
        (block, configuration)
        for block in range(repeats)
        for configuration in (configurations if repeats == 1 else block_order(configurations, seed, step.name, block))
    ]
    for block, configuration in [each for each in blocks if not recorder.is_finished(step, each[1], each[0])]:
        if recorder.is_finished(step, configuration, block):
            recorder.listener.trial_left_out()
        else:
            recorder.measure(step, configuration, run, block)
