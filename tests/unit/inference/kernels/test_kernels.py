# SPDX-License-Identifier: MIT
"""Each kernel compared with PyTorch's operations; in Triton's interpreter if there is no GPU."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from virnuc_profiler.inference.ops.rotary import RotaryAngles, apply_rotary, exact_frequencies, rotary_tables

pytest.importorskip("triton")

from virnuc_profiler.inference.kernels import graph_inputs
from virnuc_profiler.inference.kernels.elementwise import gelu_, rotate_
from virnuc_profiler.inference.kernels.embedding import describe_tokens, embed
from virnuc_profiler.inference.kernels.graph_inputs import load_graph_inputs
from virnuc_profiler.inference.kernels.layer_norm import layer_norm
from virnuc_profiler.inference.kernels.mean_pool import mean_pool, mean_pool_indirect
from virnuc_profiler.inference.kernels.varlen_attention import attend, plan_blocks

DEVICE = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
MASK = 32
LENGTHS = (
    [5, 130, 64, 17, 200, 3],
    [1, 1, 63, 65],
    [128],
)


def random(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


def cumulative(lengths):
    return torch.tensor([0, *lengths], device=DEVICE).cumsum(0).int()


def positions_of(lengths):
    return torch.cat([torch.arange(length, device=DEVICE) for length in lengths]).int()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("hidden_size", [320, 480, 24])
def test_layer_norm_adds_the_offset_and_normalizes(hidden_size, dtype):
    x, offset = random(37, hidden_size, dtype=dtype), random(hidden_size, seed=1)
    weight, bias = random(hidden_size, dtype=dtype, seed=2), random(hidden_size, dtype=dtype, seed=3)
    expected = F.layer_norm(x.float() + offset, (hidden_size,), weight.float(), bias.float(), 1e-5)
    found = layer_norm(x, offset, weight, bias, 1e-5)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=2e-3 if dtype == torch.float16 else 1e-5, atol=1e-5)
    assert layer_norm(x, offset, weight, bias, 1e-5, out=x) is x
    assert torch.equal(x, found)


def test_layer_norm_of_constant_rows_is_the_bias():
    weight, bias = random(64, seed=2), random(64, seed=3)
    found = layer_norm(torch.full((3, 64), 7.0, device=DEVICE), torch.zeros(64, device=DEVICE), weight, bias, 1e-5)
    torch.testing.assert_close(found, bias.expand(3, 64))


def test_gelu_is_the_exact_one():
    near_0, far = torch.linspace(-1, 1, 100_001), torch.linspace(-12, 12, 5001)
    x = torch.cat([near_0, far, torch.tensor([-1e4, 1e4, 0.0])]).to(DEVICE)
    expected = F.gelu(x.double())
    found = gelu_(x.clone()).double()
    assert ((found - expected).abs() <= 1e-6 * x.abs() + 1e-30).all()
    approximate = F.gelu(x.double(), approximate="tanh")
    assert (approximate - expected).abs().max() > 1e-4  # so the test tells the two forms apart


@pytest.mark.filterwarnings("ignore:invalid value")
def test_gelu_works_in_place_and_keeps_non_finite_values():
    x = torch.tensor([float("nan"), float("inf"), 1.0], device=DEVICE)
    assert gelu_(x) is x
    assert x.isfinite().tolist() == [False, False, True]


@pytest.mark.parametrize(("heads", "head_dim"), [(3, 16), (2, 24), (2, 64)])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_rotary_rotates_queries_and_keys_but_not_values(heads, head_dim, lengths):
    qkv = random(sum(lengths), 3, heads, head_dim)
    positions, frequencies = positions_of(lengths), exact_frequencies(head_dim).to(DEVICE)
    expected = apply_rotary(qkv[:, :2], *rotary_tables(positions, frequencies, torch.float32))
    found = qkv.clone()
    rotate_(found, positions, *RotaryAngles().covering(max(lengths), frequencies))
    torch.testing.assert_close(found[:, :2], expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(found[:, 2], qkv[:, 2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("heads", "head_dim"), [(3, 16), (2, 24), (1, 128)])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_attention_stays_within_each_sequence(heads, head_dim, lengths, dtype):
    if DEVICE.type == "cuda" and dtype == torch.float32:
        pytest.skip("a GPU would compute its products in tf32; models in fp32 do not use this kernel")
    qkv = 3 * random(sum(lengths), 3, heads, head_dim, dtype=dtype)
    found = attend(plan_blocks(len(qkv), cumulative(lengths)), *qkv.unbind(1))
    for ours, sequence in zip(found.split(lengths), qkv.split(lengths), strict=True):
        q, k, v = sequence.float().permute(1, 2, 0, 3)
        expected = F.scaled_dot_product_attention(q, k, v).transpose(0, 1)
        torch.testing.assert_close(ours.float(), expected, rtol=0, atol=1e-2 if dtype == torch.float16 else 1e-4)


def test_attention_takes_views_of_any_token_stride():
    qkv = random(90, 3, 2, 16, dtype=torch.float16)
    blocks = plan_blocks(90, cumulative([40, 50]))
    apart = attend(blocks, *(part.contiguous() for part in qkv.unbind(1)))
    assert torch.equal(attend(blocks, *qkv.unbind(1)), apart)


def test_attention_writes_into_the_given_tensor():
    qkv = random(90, 3, 2, 16, dtype=torch.float16)
    blocks = plan_blocks(90, cumulative([40, 50]))
    out = torch.empty(90, 2, 16, dtype=torch.float16, device=DEVICE)
    assert attend(blocks, *qkv.unbind(1), out=out) is out
    assert torch.equal(out, attend(blocks, *qkv.unbind(1)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=12), st.integers(0, 200))
def test_every_query_is_in_exactly_one_block(lengths, filler):
    blocks = plan_blocks(sum(lengths) + filler, cumulative(lengths)).cpu().tolist()
    seen = []
    for first, begin, end in blocks:
        seen += range(first, min(first + 64, end))
        assert first >= end or begin <= first
    assert sorted(seen) == list(range(sum(lengths)))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_masked_tokens_rescale_their_own_sequence(dtype):
    lengths = [4, 1030, 2, 3]
    tokens = torch.randint(4, 24, (sum(lengths),), generator=torch.Generator().manual_seed(0)).to(DEVICE, dtype)
    tokens[1] = tokens[2] = tokens[1000] = MASK
    positions, scales = describe_tokens(tokens, cumulative(lengths), MASK, 0.88)
    assert torch.equal(positions, positions_of(lengths))
    expected = torch.cat(
        [
            torch.full((length,), 0.88 / (1 - masked / length))
            for length, masked in zip(lengths, [2, 1, 0, 0], strict=True)
        ]
    )
    expected[[1, 2, 1000]] = 0
    torch.testing.assert_close(scales.cpu(), expected)
    table = random(33, 40, dtype=torch.float16)
    found = embed(tokens, table, scales)
    torch.testing.assert_close(found, (table[tokens.long()].float() * scales[:, None]).half())


@pytest.mark.parametrize("hidden_size", [320, 40])
def test_pooling_averages_the_residues(hidden_size):
    lengths = [3, 100, 33, 34]
    hidden = random(sum(lengths), hidden_size, dtype=torch.float16)
    found = mean_pool(hidden, cumulative(lengths))
    expected = torch.stack([rows[1:-1].double().mean(0) for rows in hidden.split(lengths)])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu  # the interpreter has no %globaltimer
@pytest.mark.parametrize("indirect", [False, True])
def test_a_pass_records_when_its_first_kernel_starts_and_its_last_one_ends(indirect):
    tokens, ends = torch.full((9,), 5, device=DEVICE), cumulative([4, 5])
    timestamps = torch.tensor([-1, 2**62], device=DEVICE)
    if indirect:
        describe_tokens(tokens, ends, MASK, 0.88, torch.tensor([0], device=DEVICE))
        assert timestamps.tolist() == [-1, 2**62]
    target = torch.tensor([timestamps.data_ptr()], device=DEVICE) if indirect else timestamps
    describe_tokens(tokens, ends, MASK, 0.88, target)
    start, end = timestamps.tolist()
    assert start > 0
    assert end == 0  # a later end is a larger number
    mean_pool(random(9, 40, dtype=torch.float16), ends, timestamps=timestamps)
    assert timestamps.tolist()[0] == start < timestamps.tolist()[1]


@pytest.mark.parametrize("hidden_size", [320, 40])
def test_indirect_pooling_writes_only_the_requested_sequences(hidden_size):
    lengths = [3, 100, 33, 34, 20]
    hidden, ends = random(sum(lengths), hidden_size, dtype=torch.float16), cumulative(lengths)
    found = torch.full((len(lengths) * hidden_size,), -7.0, device=DEVICE)
    for wanted in (0, 3):
        mean_pool_indirect(hidden, ends, torch.tensor([wanted, found.data_ptr(), 0], device=DEVICE))
        assert torch.equal(found[: wanted * hidden_size].view(wanted, hidden_size), mean_pool(hidden, ends)[:wanted])
        assert (found[wanted * hidden_size :] == -7).all()


@pytest.mark.parametrize("with_vectors", [False, True])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
@pytest.mark.parametrize(
    ("lengths", "capacity", "sequences"), [([5, 1500, 3], 2048, 32), ([7], 7, 1), ([1] * 1100, 1200, 2048)]
)
def test_a_pack_is_copied_into_a_graphs_inputs(lengths, capacity, sequences, dtype, with_vectors):
    ends = cumulative(lengths)
    tokens = torch.randint(0, 33, (sum(lengths),), generator=torch.Generator().manual_seed(0)).to(DEVICE, dtype)
    to_tokens = torch.full((capacity,), 77, dtype=torch.uint8, device=DEVICE)
    to_ends = torch.full((sequences + 1,), -1, dtype=torch.int32, device=DEVICE)
    target = torch.full((3,), -1, device=DEVICE)
    vectors = torch.empty(len(lengths), 8, device=DEVICE) if with_vectors else None
    load_graph_inputs(tokens, ends, to_tokens, to_ends, target, vectors)
    if vectors is None:
        assert (target[0], target[2]) == (0, 0)
    else:
        assert target.tolist() == [len(lengths), vectors.data_ptr(), 0]
    assert to_tokens.tolist() == tokens.tolist() + [77] * (capacity - len(tokens))
    assert to_ends.tolist() == ends.tolist() + [capacity] * (sequences + 1 - len(ends))


def test_a_compiled_kernel_is_reused_for_arguments_of_the_same_kind(monkeypatch):
    """The interpreter compiles nothing, so the compiled kernel is a stand-in."""
    calls = []

    class Compiled:
        def __getitem__(self, grid):
            return lambda *arguments: calls.append(("compiled", grid, arguments))

    class Jit:
        def __getitem__(self, grid):
            def launch(*arguments):
                calls.append(("jit", grid, arguments))
                return Compiled()

            return launch

    monkeypatch.setattr(graph_inputs, "_load_graph_inputs", Jit())
    monkeypatch.setattr(graph_inputs, "_compiled", {})
    monkeypatch.setattr(graph_inputs, "_TAKES_CONSTANTS", True)
    target, vectors = torch.zeros(3, dtype=torch.int64), torch.empty(2, 8)

    def load(lengths, dtype=torch.uint8, **options):
        ends = torch.tensor([0, *lengths]).cumsum(0).int()
        tokens = torch.zeros(sum(lengths), dtype=dtype)
        load_graph_inputs(
            tokens, ends, torch.zeros(4096, dtype=torch.uint8), torch.zeros(33, dtype=torch.int32), target, **options
        )
        return calls[-1]

    first, again = load([5, 7]), load([2000, 90])
    assert (first[0], again[0]) == ("jit", "compiled")
    assert (first[1], again[1]) == ((1, 1, 1), (3, 1, 1))
    assert len(again[2]) == len(first[2]) == 12
    assert again[2][7:] == (2090, 3, 4096, 33, 1024)
    assert load([5, 7], dtype=torch.int64)[0] == "jit"
    assert load([5, 7], vectors=vectors)[0] == "jit"
    assert load([5, 7], vectors=vectors, timestamps=target)[0] == "jit"
    assert load([6, 8], vectors=vectors, timestamps=target)[0] == "compiled"

    monkeypatch.setattr(graph_inputs, "_TAKES_CONSTANTS", False)
    monkeypatch.setattr(graph_inputs, "_compiled", {})
    assert [load([5, 7])[0] for _ in range(2)] == ["jit", "jit"]
