# SPDX-License-Identifier: MIT
"""The choice of the encoder, and the sizes of CUDA graphs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.esm2.config import ARCHITECTURES
from virnuc_profiler.inference.esm2.encoders.captured_graph import GraphSize
from virnuc_profiler.inference.esm2.encoders.cuda_graphs import CudaGraphEncoder, launches_matter
from virnuc_profiler.inference.esm2.encoders.eager import EagerEncoder
from virnuc_profiler.inference.esm2.encoders.fused import FusedEncoder
from virnuc_profiler.inference.esm2.encoders.select import resolve_encoder
from virnuc_profiler.inference.kernels import availability
from virnuc_profiler.inference.ops.attention import SdpaBackend, TritonBackend
from virnuc_profiler.inference.ops.pack import Pack

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def modern_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(availability, "_triton_unavailable_reason", lambda: "")


def chosen(kernels, attention, device, dtype, cuda_graphs=None):
    encoder = resolve_encoder(kernels, attention, device, dtype, cuda_graphs)
    return type(encoder.encode), encoder.kernels


def test_a_gpu_in_half_precision_gets_triton_kernels_and_graphs(modern_gpu):
    triton, sdpa = TritonBackend(), SdpaBackend()
    assert chosen("auto", triton, CUDA, torch.bfloat16) == (CudaGraphEncoder, "triton")
    assert chosen("auto", triton, CUDA, torch.bfloat16, False) == (FusedEncoder, "triton")
    assert chosen("triton", sdpa, CUDA, torch.float16) == (FusedEncoder, "triton")
    assert chosen("torch", triton, CUDA, torch.bfloat16) == (EagerEncoder, "torch")


def test_everything_else_gets_the_eager_encoder(modern_gpu):
    assert chosen("auto", SdpaBackend(), CPU, torch.bfloat16) == (EagerEncoder, "torch")
    assert chosen("auto", SdpaBackend(), CUDA, torch.float32) == (EagerEncoder, "torch")


def test_requests_that_cannot_run_are_refused_with_the_reason(modern_gpu):
    with pytest.raises(UsageError, match="'cuda': choose one of auto, triton, torch"):
        resolve_encoder("cuda", SdpaBackend(), CUDA, torch.bfloat16, None)
    with pytest.raises(UsageError, match="'triton' cannot run: it computes in fp16 or bf16"):
        resolve_encoder("triton", SdpaBackend(), CUDA, torch.float32, None)
    with pytest.raises(UsageError, match=r"graphs cannot be used: they need .* not 'auto' and 'sdpa'"):
        resolve_encoder("auto", SdpaBackend(), CUDA, torch.bfloat16, True)
    with pytest.raises(UsageError, match="graphs cannot be used: it needs a CUDA device, not cpu"):
        resolve_encoder("auto", SdpaBackend(), CPU, torch.float32, True)


@pytest.mark.parametrize(
    ("model", "tokens", "matter"),
    [
        ("esm2_t6_8M_UR50D", 65_536, True),
        ("esm2_t30_150M_UR50D", 4_096, True),
        ("esm2_t33_650M_UR50D", 16_384, False),
        ("esm2_t36_3B_UR50D", 4_096, False),
        ("esm2_t36_3B_UR50D", 512, True),
    ],
)
def test_graphs_pay_for_small_models_and_small_packs(model, tokens, matter):
    assert launches_matter(tokens, ARCHITECTURES[model]) is matter


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=400))
def test_a_graph_holds_the_pack_and_its_filler(lengths):
    tokens, sequences, longest = sum(lengths), len(lengths), max(lengths)
    size = GraphSize.for_pack(Pack(tokens, torch.zeros(sequences + 1, dtype=torch.int32), longest))
    assert tokens <= size.tokens <= max(tokens + 127, tokens * 1.016)
    assert sequences + 1 <= size.sequences <= max(32, 2 * (sequences + 1))
    assert longest <= size.longest <= max(1024, 2 * longest)
    # Neither the filler nor a sequence of the capture is longer than the graph allows.
    assert size.tokens - tokens <= size.longest
    assert size.sequences * size.longest >= size.tokens
