# SPDX-License-Identifier: MIT
"""Mean pooling compared with a loop."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from virnuc_profiler.inference.ops.pooling import mean_pool


def cu_seqlens_of(lengths):
    return torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(3, 40), min_size=1, max_size=20), st.sampled_from([torch.float32, torch.bfloat16]))
def test_each_row_is_the_mean_over_residues(lengths, dtype):
    hidden = torch.randn(sum(lengths), 5).to(dtype)
    found = mean_pool(hidden, cu_seqlens_of(lengths))
    expected = torch.stack([rows[1:-1].double().mean(0) for rows in hidden.split(lengths)])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_special_tokens_have_no_influence():
    hidden = torch.tensor([[1e30], [3.0], [-1e30], [1e30], [1.0], [2.0], [float("inf")]])
    assert mean_pool(hidden, cu_seqlens_of([3, 4])).tolist() == [[3.0], [1.5]]


def test_sums_are_in_fp32():
    hidden = torch.ones(5002, 1, dtype=torch.bfloat16)
    assert mean_pool(hidden, cu_seqlens_of([5002])).item() == 1.0
    half = torch.full((102, 1), 60_000.0, dtype=torch.float16)
    assert mean_pool(half, cu_seqlens_of([102])).item() == half[0].item()


def test_the_hidden_states_do_not_change():
    hidden = torch.randn(7, 3)
    before = hidden.clone()
    mean_pool(hidden, cu_seqlens_of([4, 3]))
    assert torch.equal(hidden, before)
