# SPDX-License-Identifier: MIT
"""Random weights: the same for a seed, and of a usual size."""

import pytest
import torch

from tests.support.packed import TINY, proteins, run_packed
from virnuc_profiler.inference.esm2.model import PackedESM2
from virnuc_profiler.inference.esm2.random_weights import fill_randomly


def random_model(seed, dtype=torch.float32):
    model = PackedESM2(TINY, dtype=dtype)
    fill_randomly(model, seed)
    return model


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_seed_determines_the_weights(dtype):
    assert equal(random_model(3, dtype), random_model(3, dtype))
    assert not equal(random_model(3, dtype), random_model(4, dtype))


def test_the_fingerprint_names_seed_precision_and_device():
    assert random_model(3).info.weights_fingerprint == "fp32 random seed 3 on cpu"
    assert random_model(3, torch.bfloat16).info.weights_fingerprint == "bf16 random seed 3 on cpu"


def test_random_weights_do_not_change_the_global_random_state():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    random_model(0)
    assert torch.equal(torch.rand(3), expected)


def test_random_weights_give_embeddings_of_a_usual_size():
    for rows in run_packed(random_model(0), proteins([1, 50, 300])):
        assert rows.isfinite().all()
        assert 0.5 < rows.std() < 2


def test_every_weight_is_filled():
    model = PackedESM2(TINY)
    for parameter in model.parameters():
        parameter.fill_(float("nan"))
    fill_randomly(model, 0)
    assert not any(parameter.isnan().any() for parameter in model.parameters())
    assert not model.embed_tokens.weight[1].any()
