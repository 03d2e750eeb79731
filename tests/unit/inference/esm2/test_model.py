# SPDX-License-Identifier: MIT
"""The packed model compared with fair-esm's padded model, in fp32."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import cosine_similarity

from tests.support.packed import (
    TINY,
    fair_esm_model,
    mean_over_residues,
    packed_batch,
    padded_oracle,
    proteins,
    run_packed,
)
from virnuc_profiler.errors import ModelError, UsageError
from virnuc_profiler.inference.esm2.config import ARCHITECTURES, Architecture
from virnuc_profiler.inference.esm2.load import from_fair_esm
from virnuc_profiler.inference.esm2.model import PackedESM2


@pytest.fixture(scope="module", params=[TINY, ARCHITECTURES["esm2_t6_8M_UR50D"]], ids=["tiny", "8M"])
def pair(request):
    oracle = fair_esm_model(request.param)
    return oracle, from_fair_esm(oracle)


def assert_same(packed, padded):
    assert len(packed) == len(padded)
    for ours, theirs in zip(packed, padded, strict=True):
        assert ours.shape == theirs.shape
        assert cosine_similarity(ours, theirs.float(), dim=-1).min() > 0.99999
        # Cosine is blind to a wrong scale, and nearly so to an approximate GELU.
        torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-5)


def test_sequences_of_all_lengths_equal_fair_esm(pair):
    oracle, model = pair
    sequences = proteins([30, 1, 2, 3, 17, 64, 63, 30, 1022, 255, 31, 29])
    assert_same(run_packed(model, sequences), padded_oracle(oracle, sequences, batch_size=3))


def test_a_single_sequence_equals_fair_esm(pair):
    oracle, model = pair
    for length in (1, 200):
        assert_same(run_packed(model, proteins([length])), padded_oracle(oracle, proteins([length])))


def test_masked_tokens_rescale_their_own_sequence_only(pair):
    oracle, model = pair
    sequences = [
        "MKT<mask>AYI<mask><mask>KQR",
        "MKTAYIAKQR",
        "<mask>" * 5 + "A",
        proteins([90])[0] + "<mask>",
        "<mask>A",
    ]
    assert_same(run_packed(model, sequences), padded_oracle(oracle, sequences))


def test_unknown_and_rare_residues_equal_fair_esm(pair):
    oracle, model = pair
    sequences = ["BZXUOACD", "<unk>MK.-", "XXXX"]
    assert_same(run_packed(model, sequences), padded_oracle(oracle, sequences))


def test_neighbors_in_the_pack_do_not_matter(pair):
    _, model = pair
    alone, other = proteins([120], seed=1), proteins([44, 300], seed=2)
    (expected,) = run_packed(model, alone)
    for sequences in (alone + other, other + alone, [other[0], *alone, other[1]]):
        found = run_packed(model, sequences)[sequences.index(alone[0])]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_bf16_stays_close_to_fp32(pair):
    oracle, _ = pair
    model = from_fair_esm(oracle, dtype=torch.bfloat16)
    sequences = proteins([1, 40, 250])
    for ours, theirs in zip(run_packed(model, sequences), padded_oracle(oracle, sequences), strict=True):
        assert cosine_similarity(mean_over_residues(ours), mean_over_residues(theirs), dim=0) > 0.999
    batch = packed_batch(sequences)
    assert model(batch.tokens, batch.cu_seqlens, batch.max_seqlen).dtype == torch.bfloat16


def test_tokens_may_have_any_integer_type(pair):
    _, model = pair
    batch = packed_batch(proteins([5, 9]))
    expected = model(batch.tokens, batch.cu_seqlens, batch.max_seqlen)
    for dtype in (torch.int32, torch.int64):
        assert torch.equal(model(batch.tokens.to(dtype), batch.cu_seqlens, batch.max_seqlen), expected)


def test_one_vector_per_sequence_is_the_mean_over_its_residues(pair):
    _, model = pair
    batch = packed_batch(proteins([3, 40, 1]))
    inputs = (batch.tokens, batch.cu_seqlens, batch.max_seqlen)
    hidden = model(*inputs)
    found = model.embed_sequences(*inputs)
    ends = batch.cu_seqlens.tolist()
    for vector, begin, end in zip(found, ends, ends[1:], strict=False):
        torch.testing.assert_close(vector, hidden[begin + 1 : end - 1].mean(0))


def test_a_pass_marks_its_stages_and_writes_into_the_given_memory(pair):
    _, model = pair
    batch = packed_batch(proteins([3, 40, 1]))
    stages, buffers = [], []

    def output_buffer(sequences, hidden_size):
        buffers.append(torch.zeros(sequences, hidden_size))
        return SimpleNamespace(vectors=buffers[-1])

    marks = SimpleNamespace(
        output_buffer=output_buffer,
        begin_forward=lambda: stages.append("forward"),
        begin_pooling=lambda: stages.append("pool"),
    )
    found = model.embed_sequences(batch.tokens, batch.cu_seqlens, batch.max_seqlen, marks=marks)
    assert stages == ["forward", "pool"]
    assert len(buffers) == 1
    assert found is buffers[0]
    assert torch.equal(found, model.embed_sequences(batch.tokens, batch.cu_seqlens, batch.max_seqlen))


def test_no_gradients_are_recorded(pair):
    _, model = pair
    batch = packed_batch(proteins([5]))
    assert not model(batch.tokens, batch.cu_seqlens, batch.max_seqlen).requires_grad
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_models_properties(pair):
    oracle, model = pair
    assert (model.hidden_size, model.num_layers, model.attention_heads) == (
        oracle.embed_dim,
        oracle.num_layers,
        oracle.attention_heads,
    )
    assert model.embed_dim == model.hidden_size  # fair-esm's name
    assert (model.dtype, model.device) == (torch.float32, torch.device("cpu"))
    info = model.info
    assert (info.precision, info.attention_backend, info.weights_source) == ("fp32", "sdpa", "fair-esm")
    encoder = [value for name, value in oracle.named_parameters() if not name.startswith(("lm_head", "contact_head"))]
    assert info.parameters == sum(value.numel() for value in encoder)


def test_padded_tokens_are_refused(pair):
    _, model = pair
    with pytest.raises(ValueError, match=r"packed sequences.*\(2, 5\)"):
        model(torch.zeros(2, 5, dtype=torch.uint8), torch.tensor([0, 5, 10], dtype=torch.int32), 5)


def test_other_models_are_refused():
    with pytest.raises(ModelError, match="Linear is not an ESM-2 model"):
        from_fair_esm(torch.nn.Linear(2, 2))


def test_heads_must_divide_the_hidden_size():
    with pytest.raises(ValueError, match="3 attention heads do not divide hidden_size 32"):
        Architecture(1, 32, 3)


def test_a_backend_that_cannot_run_is_refused_when_the_model_is_created():
    with pytest.raises(UsageError, match="attention 'torch-varlen' cannot run"):
        PackedESM2(TINY, attention="torch-varlen")
