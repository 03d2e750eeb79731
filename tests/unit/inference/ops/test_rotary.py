# SPDX-License-Identifier: MIT
"""Rotary embeddings compared with fair-esm's."""

import pytest
import torch
from esm.rotary_embedding import RotaryEmbedding

from virnuc_profiler.inference.ops.rotary import RotaryAngles, apply_rotary, exact_frequencies, rotary_tables


@pytest.mark.parametrize("head_dim", [16, 24, 64, 128])
def test_angles_equal_fair_esm(head_dim):
    q, k = torch.randn(2, 3, 1024, head_dim).unbind()
    expected_q, expected_k = RotaryEmbedding(head_dim)(q, k)
    cos, sin = rotary_tables(torch.arange(1024), exact_frequencies(head_dim), torch.float32)
    found = apply_rotary(torch.stack((q, k)).permute(2, 0, 1, 3), cos, sin)
    torch.testing.assert_close(found[:, 0].transpose(0, 1), expected_q, rtol=0, atol=1e-3)
    torch.testing.assert_close(found[:, 1].transpose(0, 1), expected_k, rtol=0, atol=1e-3)


def test_half_precision_rounds_the_factors_and_not_the_angles():
    positions = torch.arange(1024, dtype=torch.int32)
    exact = rotary_tables(positions, exact_frequencies(64), torch.float32)
    rounded = rotary_tables(positions, exact_frequencies(64), torch.bfloat16)
    for table, expected in zip(rounded, exact, strict=True):
        assert table.dtype == torch.bfloat16
        assert (table.float() - expected).abs().max() <= 2**-8


def test_positions_may_come_in_any_order():
    cos, sin = rotary_tables(torch.tensor([0, 1, 0]), exact_frequencies(8), torch.float32)
    assert torch.equal(cos[0], cos[2])
    assert not torch.equal(sin[0], sin[1])
    x = torch.randn(3, 2, 2, 8)
    assert torch.equal(apply_rotary(x, cos, sin)[0], x[0])


@pytest.mark.parametrize("head_dim", [16, 24, 64, 128])
def test_frequencies_equal_fair_esm(head_dim):
    assert torch.equal(exact_frequencies(head_dim), RotaryEmbedding(head_dim).inv_freq)


def test_other_frequencies_make_other_tables():
    exact = exact_frequencies(64)
    angles = RotaryAngles()
    tables = angles.covering(1024, exact)
    assert angles.covering(1000, exact) is tables
    rounded = angles.covering(1000, exact.half().float())
    assert (rounded[0] - tables[0]).abs().max() > 0.05  # at position 1,000, a pair is off by a tenth of a radian
