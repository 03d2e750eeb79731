# SPDX-License-Identifier: MIT
"""The fingerprint tells weights apart: any value, any place, and not the file that they come from."""

import pytest
import torch

from tests.support.huggingface_files import save_hugging_face
from tests.support.packed import TINY, fair_esm_model, round_frequencies, save_checkpoint
from virnuc_profiler.inference.esm2.checkpoints.open_weights import fill_from_file
from virnuc_profiler.inference.esm2.load import from_fair_esm
from virnuc_profiler.inference.esm2.model import PackedESM2
from virnuc_profiler.inference.esm2.weights_fingerprint import weights_fingerprint


@pytest.fixture
def model():
    return from_fair_esm(fair_esm_model(TINY))


def test_it_is_the_same_for_all_formats_and_shown_with_the_model(tmp_path):
    oracle = round_frequencies(fair_esm_model(TINY))
    files = [
        save_checkpoint(oracle, tmp_path / "mine.pt"),
        save_hugging_face(oracle, tmp_path / "whole"),
        save_hugging_face(oracle, tmp_path / "parts", shards=3),
    ]
    found = []
    for path in files:
        model = PackedESM2(TINY)
        fill_from_file(model, path)
        found.append(weights_fingerprint(model))
    assert found == [from_fair_esm(oracle).info.weights_fingerprint] * 3


def test_its_value_does_not_change_between_versions():
    """A job that was begun with an older version must find its own weights again."""
    model = PackedESM2(TINY)
    for number, parameter in enumerate(model.parameters()):
        parameter.copy_(torch.arange(parameter.numel()).view(parameter.shape) + number)
    model.rotary_frequencies = torch.arange(8.0)
    assert weights_fingerprint(model) == "sha256:a1cbd9af8b57b855dcd45fd9de42b190e72723ead1d477319550a202b3fa67bd"


def test_every_precision_has_its_own():
    dtypes = (torch.float32, torch.float16, torch.bfloat16)
    found = {from_fair_esm(fair_esm_model(TINY), dtype=dtype).weights_fingerprint for dtype in dtypes}
    assert len(found) == 3


@pytest.mark.parametrize("name", ["embed_tokens.weight", "layers.1.qkv.weight", "layers.2.up.bias", "final_norm.bias"])
def test_every_value_and_every_place_counts(model, name):
    before = weights_fingerprint(model)
    values = model.get_parameter(name).flatten()
    values[:2] = values[:2].flip(0) + torch.tensor([0.0, 1e-3])
    assert weights_fingerprint(model) != before


def test_the_frequencies_count(model):
    before = weights_fingerprint(model)
    model.rotary_frequencies = model.rotary_frequencies.half().float()
    assert weights_fingerprint(model) != before


def test_the_layer_counts(model):
    before = weights_fingerprint(model)
    one, other = model.layers[0].up.weight, model.layers[1].up.weight
    kept = one.clone()
    one.copy_(other)
    other.copy_(kept)
    assert weights_fingerprint(model) != before
