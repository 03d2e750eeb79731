# SPDX-License-Identifier: MIT
"""The fused encoder compared with fair-esm in fp32; in Triton's interpreter, because a GPU would use tf32."""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from tests.support.packed import TINY, fair_esm_model, packed_batch, padded_oracle, proteins
from virnuc_profiler.inference.esm2.encoders.eager import EagerEncoder
from virnuc_profiler.inference.esm2.encoders.fp8 import Fp8Encoder
from virnuc_profiler.inference.esm2.encoders.fused import FusedEncoder
from virnuc_profiler.inference.esm2.encoders.residual_biases import ResidualBiases
from virnuc_profiler.inference.esm2.load import from_fair_esm
from virnuc_profiler.inference.esm2.model import PackedESM2
from virnuc_profiler.inference.ops.attention import SdpaBackend, TritonBackend
from virnuc_profiler.inference.ops.pack import Pack

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="Triton's interpreter is off if there is a GPU")


@pytest.fixture(scope="module")
def pair():
    oracle = fair_esm_model(TINY)
    return oracle, from_fair_esm(oracle)


def encode(encoder, model, sequences):
    batch = packed_batch(sequences)
    return encoder(model, batch.tokens, Pack(len(batch.tokens), batch.cu_seqlens, batch.max_seqlen))


def assert_equals_fair_esm(pair, attention, sequences):
    oracle, model = pair
    expected = padded_oracle(oracle, sequences)
    found = encode(FusedEncoder(attention), model, sequences).split([len(rows) for rows in expected])
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-5)


def test_sequences_of_all_lengths(pair):
    assert_equals_fair_esm(pair, TritonBackend(), proteins([30, 1, 2, 64, 62, 130]))


def test_another_attention_backend(pair):
    assert_equals_fair_esm(pair, SdpaBackend(), proteins([9, 1, 20]))


def test_the_models_own_frequencies(pair):
    model = from_fair_esm(pair[0])
    fused, eager = FusedEncoder(SdpaBackend()), EagerEncoder(SdpaBackend())
    found = [encode(fused, model, proteins([9, 40]))]
    model.rotary_frequencies = model.rotary_frequencies * 1.1  # a published model's differ by less than 0.05 %
    found.append(encode(fused, model, proteins([9, 40])))
    assert (found[0] - found[1]).abs().max() > 1e-3
    torch.testing.assert_close(found[1], encode(eager, model, proteins([9, 40])), rtol=0, atol=5e-5)


def test_masked_tokens(pair):
    assert_equals_fair_esm(pair, TritonBackend(), ["MKT<mask>AYI<mask><mask>KQR", "MKTAYIAKQR", "<mask>A"])


@pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="PyTorch 2.6 multiplies FP8 on GPUs only")
def test_fp8_is_close(pair):
    """Use SDPA, because the interpreter does not multiply bf16."""
    model = from_fair_esm(pair[0], dtype=torch.bfloat16)
    exact = encode(FusedEncoder(SdpaBackend()), model, proteins([9, 1, 20])).float()
    rounded = encode(Fp8Encoder(SdpaBackend()), model, proteins([9, 1, 20])).float()
    assert not torch.equal(rounded, exact)
    assert cosine_similarity(rounded, exact, dim=-1).min() > 0.995


def test_changed_biases_are_noticed():
    model = from_fair_esm(fair_esm_model(TINY))
    biases = ResidualBiases()
    before = biases.for_model(model)
    assert biases.for_model(model) is before
    assert before.shape == (2 * model.num_layers + 1, model.hidden_size)
    assert not before[0].any()
    model.layers[0].down.bias.add_(1.0)
    torch.testing.assert_close(biases.for_model(model)[2:], before[2:] + 1.0)
    torch.testing.assert_close(biases.for_model(model)[:2], before[:2])


def test_changed_biases_are_noticed_beside_an_inference_tensor():
    model = PackedESM2(TINY)
    with torch.inference_mode():
        model.layers[0].attention_out.bias = torch.nn.Parameter(torch.zeros(TINY.hidden_size), requires_grad=False)
    biases = ResidualBiases()
    before = biases.for_model(model)
    assert biases.for_model(model) is before
    model.layers[1].down.bias.add_(1.0)
    assert biases.for_model(model) is not before


def test_layers_may_be_wrapped():
    class Wrapped(torch.nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def __getattr__(self, name):
            return (
                getattr(self._modules["layer"], name)
                if name in ("attention_out", "down")
                else super().__getattr__(name)
            )

    model = from_fair_esm(fair_esm_model(TINY))
    expected = ResidualBiases().for_model(model)
    model.layers[0] = Wrapped(model.layers[0])
    torch.testing.assert_close(ResidualBiases().for_model(model), expected)
