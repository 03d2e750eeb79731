# SPDX-License-Identifier: MIT
import torch
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.targets.adapters.padded_batches import batches_of_tokens, mean_over_residues


@given(st.lists(st.integers(3, 500), max_size=60), st.integers(3, 4000), st.booleans())
def test_batches_stay_within_the_budget_and_hold_each_sequence_once(lengths, budget, sort):
    batches = batches_of_tokens(lengths, budget, sort)
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    for batch in batches:
        assert batch
        assert len(batch) == 1 or len(batch) * max(lengths[position] for position in batch) <= budget


def test_a_batch_is_as_large_as_the_budget_allows():
    assert batches_of_tokens([10, 10, 10, 10, 10], 20, sort=False) == [[0, 1], [2, 3], [4]]


def test_sorting_puts_the_longest_first_and_keeps_the_order_of_equals():
    assert batches_of_tokens([5, 9, 5, 9], 18, sort=True) == [[1, 3], [0, 2]]


def test_the_mean_leaves_out_bos_eos_and_padding():
    hidden = torch.arange(12, dtype=torch.float16).view(2, 6, 1)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    assert mean_over_residues(hidden, mask).tolist() == [[1.5], [8.5]]


def test_a_mean_in_half_precision_does_not_overflow():
    hidden = torch.full((1, 1024, 1), 100.0, dtype=torch.float16)
    assert mean_over_residues(hidden, torch.ones(1, 1024, dtype=torch.int64)).item() == 100.0
