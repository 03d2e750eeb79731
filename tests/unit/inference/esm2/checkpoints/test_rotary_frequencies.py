# SPDX-License-Identifier: MIT
"""Rotary frequencies come from the file: as they are, or those of the published models with a warning."""

import logging

import pytest
import torch

from tests.support.packed import TINY
from virnuc_profiler.errors import ModelError
from virnuc_profiler.inference.esm2.checkpoints.rotary_frequencies import stored_frequencies
from virnuc_profiler.inference.esm2.checkpoints.stored_weights import StoredWeights
from virnuc_profiler.inference.ops.rotary import exact_frequencies

EXACT = exact_frequencies(TINY.head_dim)
PUBLISHED = EXACT.half().float()


def stored(*copies):
    state = {f"layers.{layer}.self_attn.rot_emb.inv_freq": copy for layer, copy in enumerate(copies)}
    return StoredWeights("x.pt", TINY, state)


@pytest.mark.parametrize("values", [EXACT, PUBLISHED, EXACT.half(), EXACT.double()], ids=["fp32", "16", "half", "fp64"])
def test_the_frequencies_of_the_file_are_used(values, caplog):
    found = stored_frequencies(stored(values, values))
    assert found.dtype == torch.float32
    assert torch.equal(found, values.float())
    assert caplog.text == ""


@pytest.mark.parametrize("copies", [(), (EXACT.bfloat16(),), (EXACT.bfloat16().float(),)], ids=["none", "bf16", "fp32"])
def test_missing_and_damaged_ones_are_replaced(copies, caplog):
    with caplog.at_level(logging.WARNING, logger="virnuc_profiler"):
        assert torch.equal(stored_frequencies(stored(*copies)), PUBLISHED)
    assert "x.pt has " in caplog.text
    assert "using those of the published ESM-2 models" in caplog.text


@pytest.mark.parametrize(
    ("copies", "message"),
    [
        ((EXACT * 1.1,), r"layers\.0\.self_attn\.rot_emb\.inv_freq that are not ESM-2's \(base 10,000\)"),
        ((torch.full_like(EXACT, torch.nan),), "not ESM-2's"),
        ((torch.zeros_like(EXACT),), "not ESM-2's"),
        ((EXACT, EXACT, PUBLISHED), r"in layers\.2\.\S+ than in layers\.0\."),
        ((EXACT[:-1],), r"inv_freq of shape \(7,\) instead of \(8,\)"),
    ],
    ids=["base", "nan", "zero", "different", "shape"],
)
def test_others_are_refused(copies, message):
    with pytest.raises(ModelError, match=message):
        stored_frequencies(stored(*copies))
