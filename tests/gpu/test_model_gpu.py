# SPDX-License-Identifier: MIT
"""The packed model and the runner on a GPU: correct in half precision, and without waiting for the device."""

import gc

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from tests.support.gpu import no_waiting
from tests.support.packed import fair_esm_model, mean_over_residues, packed_batch, padded_oracle, proteins
from virnuc_profiler import AsyncInferenceRunner, load_esm2_model
from virnuc_profiler.inference.esm2.config import ARCHITECTURES
from virnuc_profiler.inference.esm2.load import from_fair_esm
from virnuc_profiler.inference.esm2.precision_check import check_precision
from virnuc_profiler.inference.ops.attention import BACKENDS
from virnuc_profiler.inference.ops.pooling import mean_pool
from virnuc_profiler.inference.placement import PRECISIONS

pytestmark = pytest.mark.gpu

TOKENS_PER_PACK = 16_384


def two_hundred_proteins():
    """Proteins of 1 to 1,022 residues, lengths uniform and including both limits; some contain <mask>."""
    lengths = np.linspace(1, 1022, 200).round().astype(int)
    sequences = proteins(np.random.default_rng(0).permutation(lengths))
    return [sequence if index % 10 else sequence + "<mask>" for index, sequence in enumerate(sequences[:-1])] + [
        sequences[-1]
    ]


def packs(sequences):
    """Pack sequences in order, at most TOKENS_PER_PACK tokens each."""
    first, tokens = 0, 0
    for index, sequence in enumerate(sequences):
        tokens += len(sequence) + 2
        if tokens > TOKENS_PER_PACK:
            yield packed_batch(sequences[first:index], first)
            first, tokens = index, len(sequence) + 2
    yield packed_batch(sequences[first:], first)


def skip_unless_it_runs(attention, dtype, architecture):
    backend = next(backend for backend in BACKENDS if backend.name == attention)
    reason = backend.unavailable_reason(torch.device("cuda", 0), dtype, architecture.head_dim)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module", params=["esm2_t6_8M_UR50D", "esm2_t30_150M_UR50D", "esm2_t33_650M_UR50D"])
def expected(request):
    """fair-esm's padded model in fp32, and its embedding of each of the 200 sequences."""
    oracle = fair_esm_model(ARCHITECTURES[request.param]).cuda()
    rows = padded_oracle(oracle, two_hundred_proteins(), "cuda")
    yield oracle, torch.stack([mean_over_residues(sequence).cpu() for sequence in rows])
    torch.cuda.empty_cache()


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
@pytest.mark.parametrize("attention", [backend.name for backend in BACKENDS])
def test_each_sequence_equals_fair_esm(expected, attention, precision):
    oracle, embeddings = expected
    dtype = PRECISIONS[precision]
    architecture = next(a for a in ARCHITECTURES.values() if a.hidden_size == oracle.embed_dim)
    skip_unless_it_runs(attention, dtype, architecture)
    model = from_fair_esm(oracle, device="cuda:0", dtype=dtype, attention=attention)
    sequences = two_hundred_proteins()
    results = list(AsyncInferenceRunner(model, "cuda:0").run(packs(sequences)))
    found = torch.cat([result.embeddings for result in results]).double()
    assert found.shape == embeddings.shape
    cosines = cosine_similarity(found, embeddings, dim=-1)
    assert cosines.min() > (0.99999 if precision == "fp32" else 0.999)
    assert ((found - embeddings).norm(dim=-1) / embeddings.norm(dim=-1)).max() < 0.05


@pytest.mark.parametrize("attention", [backend.name for backend in BACKENDS])
@pytest.mark.parametrize("host_knows", [True, False])
def test_forward_and_pooling_never_wait_for_the_device(attention, host_knows):
    skip_unless_it_runs(attention, torch.float16, ARCHITECTURES["esm2_t6_8M_UR50D"])
    model, _ = load_esm2_model("8M", "cuda:0", weights="random", attention=attention)
    batch = packed_batch(proteins([1, 30, 31, 200, 7], seed=1))
    tokens, cu_seqlens = batch.tokens.cuda(), batch.cu_seqlens.cuda()
    host_cu_seqlens = batch.cu_seqlens if host_knows else None
    with torch.inference_mode():
        warm = mean_pool(model(tokens, cu_seqlens, batch.max_seqlen, host_cu_seqlens), cu_seqlens)
        with no_waiting():
            again = mean_pool(model(tokens, cu_seqlens, batch.max_seqlen, host_cu_seqlens), cu_seqlens)
    torch.testing.assert_close(again, warm)


def test_launching_returns_while_the_device_is_busy():
    model, _ = load_esm2_model("150M", "cuda:0", weights="random")
    batches = [packed_batch(proteins([500] * 30), first) for first in range(0, 300, 30)]
    runner = AsyncInferenceRunner(model, "cuda:0", in_flight=3)
    assert len(list(runner.run(batches))) == 10
    at_work = []

    def loader():
        for batch in batches:
            at_work.append(not torch.cuda.current_stream().query())
            yield batch

    with no_waiting():  # waiting for an event is allowed, because it synchronizes neither the device nor a stream
        results = list(runner.run(loader()))
    assert [result.batch_idx for result in results] == list(range(10))
    # Whenever the host fetches another batch, the device still has work.
    assert at_work == [False] + [True] * 9


@pytest.mark.parametrize("pinned", [True, False])
def test_results_are_not_overwritten_by_later_batches(pinned):
    model, _ = load_esm2_model("8M", "cuda:0", weights="random")
    batches = [packed_batch(proteins([40, 3, 90], seed=seed)) for seed in range(20)]
    if pinned:
        batches = [batch_with_pinned_memory(batch) for batch in batches]
    in_flight = [result.embeddings for result in AsyncInferenceRunner(model, "cuda:0", in_flight=4).run(batches)]
    for batch, found in zip(batches, in_flight, strict=True):
        (alone,) = AsyncInferenceRunner(model, "cuda:0").run([batch])
        torch.testing.assert_close(found, alone.embeddings)
        assert not found.is_pinned()


def batch_with_pinned_memory(batch):
    fields = {name: getattr(batch, name) for name in batch.__slots__}
    fields.update(tokens=batch.tokens.pin_memory(), cu_seqlens=batch.cu_seqlens.pin_memory())
    return type(batch)(**fields)


def test_random_weights_are_allocated_once_on_the_device():
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    model, _ = load_esm2_model("3B", "cuda:0", weights="random")
    held = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    assert torch.cuda.max_memory_allocated() - before < held * 1.05
    del model


def test_out_of_memory_leaves_nothing_behind():
    model, _ = load_esm2_model("8M", "cuda:0", weights="random")
    torch.cuda.empty_cache()
    held = torch.cuda.memory_allocated()
    total = torch.cuda.get_device_properties(0).total_memory
    huge = packed_batch(proteins([1000] * 100))
    runner = AsyncInferenceRunner(model, "cuda:0")
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (128 << 20)) / total)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            list(runner.run([huge]))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    gc.collect()  # the error's traceback
    assert torch.cuda.memory_allocated() <= held + (1 << 20)
    assert len(list(runner.run([huge]))) == 1


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("size", ["8M", "35M"])
def test_replayed_forwards_equal_launched_ones(size, precision):
    """Alternate packs of many sizes, so that a graph must not depend on its last inputs."""
    launched, _ = load_esm2_model(size, "cuda:0", precision=precision, weights="random", cuda_graphs=False)
    graphed, _ = load_esm2_model(size, "cuda:0", precision=precision, weights="random", cuda_graphs=True)
    random = np.random.default_rng(0)
    lengths = [random.integers(1, 1022, size=count) for count in (1, 3, 3, 40, 2, 40)]
    batches = [packed_batch(proteins(some, seed=seed)) for seed, some in enumerate(lengths)]
    batches.append(packed_batch(["M<mask>K" * 5, "<mask>A"]))
    with torch.inference_mode():
        for batch in batches * 4:
            inputs = (batch.tokens.cuda(), batch.cu_seqlens.cuda(), batch.max_seqlen)
            assert torch.equal(graphed(*inputs), launched(*inputs))
            assert torch.equal(graphed.embed_sequences(*inputs), launched.embed_sequences(*inputs))


def test_graphs_follow_weights_that_move_or_change():
    model, _ = load_esm2_model("8M", "cuda:0", weights="random", cuda_graphs=True)
    batch = packed_batch(proteins([50, 60]))
    inputs = (batch.tokens.cuda(), batch.cu_seqlens.cuda(), batch.max_seqlen)

    def forward():
        with torch.inference_mode():
            return [model(*inputs) for _ in range(3)][-1]

    first = forward()
    for layer in model.layers:
        layer.down.bias.add_(1.0)
    changed = forward()
    assert not torch.allclose(changed, first)
    model.cpu().cuda()
    torch.testing.assert_close(forward(), changed)


def test_results_of_a_graph_belong_to_the_caller():
    model, _ = load_esm2_model("8M", "cuda:0", weights="random", cuda_graphs=True)
    one, other = (packed_batch(proteins([50, 60], seed=seed)) for seed in (1, 2))

    def forward(batch):
        with torch.inference_mode():
            return model(batch.tokens.cuda(), batch.cu_seqlens.cuda(), batch.max_seqlen)

    for _ in range(3):
        first = forward(one)
    kept = first.clone()
    forward(other)
    assert torch.equal(first, kept)


@pytest.mark.parametrize("size", ["8M", "650M"])
def test_fp8_stays_close_to_bf16_and_fp32(size):
    if torch.cuda.get_device_capability() < (9, 0):
        pytest.skip("FP8 needs Hopper")
    model, _ = load_esm2_model(size, "cuda:0", precision="fp8", weights="random")
    assert model.info.precision == "fp8"
    for batch in list(packs(two_hundred_proteins())):
        report = check_precision(model, batch.tokens.cuda(), batch.cu_seqlens.cuda(), batch.max_seqlen)
        assert min(report.bf16_min, report.fp32_min) > 0.995, report
