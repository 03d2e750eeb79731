# SPDX-License-Identifier: MIT
"""The largest batch of a run, as it follows from knobs of any target."""

import pytest

from virnuc_profiler.targets.batch_bounds import batch_bounds
from virnuc_profiler.targets.knobs.configuration import BASELINE, KnobSet
from virnuc_profiler.targets.knobs.knob import IntegerKnob

WORKLOAD = (100, 20_000, 1000)  # sequences, tokens, tokens of the longest


def configuration(name, value):
    knob = IntegerKnob(name=name, default=value, low=1, high=1 << 20)
    return KnobSet("t", (knob,)).baseline


def test_the_built_in_knobs_bound_packs_by_budget_and_buffer():
    assert batch_bounds(BASELINE, *WORKLOAD) == (3097, 4096)
    assert batch_bounds(BASELINE.replace(buffer_size=10), *WORKLOAD) == (2000, 2000)


@pytest.mark.parametrize("name", ["token_budget", "batch_tokens"])
def test_a_budget_of_another_target_bounds_batches_of_the_whole_workload(name):
    assert batch_bounds(configuration(name, 4096), *WORKLOAD) == (3097, 4096)
    assert batch_bounds(configuration(name, 1 << 20), *WORKLOAD) == (20_000, 20_000)


def test_a_number_of_sequences_bounds_by_mean_and_longest():
    assert batch_bounds(configuration("batch_size", 8), *WORKLOAD) == (1539, 8000)
    assert batch_bounds(configuration("batch_size", 1), *WORKLOAD) == (1000, 1000)
    assert batch_bounds(configuration("batch_size", 1000), *WORKLOAD) == (20_000, 100_000)


def test_knobs_that_say_nothing_of_batches_give_no_bound():
    assert batch_bounds(configuration("threads", 8), *WORKLOAD) is None
