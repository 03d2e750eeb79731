# SPDX-License-Identifier: MIT
"""The choice of the attention backend, and the padded fallback compared with one sequence at a time."""

import builtins
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.kernels import availability
from virnuc_profiler.inference.ops import attention
from virnuc_profiler.inference.ops.attention import (
    BACKENDS,
    FlashAttnBackend,
    resolve_attention_backend,
)
from virnuc_profiler.inference.ops.pack import Pack
from virnuc_profiler.inference.ops.padded_attention import attend_padded, plan_padding

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)


def pack_of(lengths, host_knows=True):
    cu_seqlens = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    pack = Pack(sum(lengths), cu_seqlens, max(lengths))
    if not host_knows:
        vars(pack)["host_lengths"] = None  # as on a GPU
    return pack


@pytest.fixture
def modern_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Test")


@pytest.fixture
def no_triton(monkeypatch):
    monkeypatch.setattr(availability, "_triton_unavailable_reason", lambda: "there is none")


@pytest.fixture
def no_flash_attn(monkeypatch):
    monkeypatch.setitem(sys.modules, "flash_attn", None)


def test_a_pack_gives_sequence_and_position_of_each_token():
    pack = pack_of([3, 1, 2])
    assert pack.sequence_of.tolist() == [0, 0, 0, 1, 2, 2]
    assert pack.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert pack.lengths.tolist() == pack.host_lengths == [3, 1, 2]


def test_host_lengths_come_from_the_host_copy():
    cu_seqlens = torch.tensor([0, 4, 5], dtype=torch.int32)
    assert Pack(5, cu_seqlens, 4, cu_seqlens.clone()).host_lengths == [4, 1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=25), st.booleans())
def test_padding_holds_every_token_once_and_masks_the_rest(lengths, host_knows):
    pack = pack_of(lengths, host_knows)
    padding = plan_padding(pack)
    tokens = torch.arange(sum(lengths))
    assert torch.equal(padding.token_of_row[padding.row_of_token], tokens)
    seen = []
    rows = 0
    for bucket in padding.buckets:
        held = padding.token_of_row[rows : rows + bucket.sequences * bucket.length]
        rows += len(held)
        mask = torch.ones(bucket.sequences, bucket.length, dtype=torch.bool)
        if bucket.key_mask is not None:
            mask = bucket.key_mask.view(bucket.sequences, bucket.length)
        seen.append(held[mask.flatten()])
        # All rows of one padded sequence belong to one sequence.
        assert (pack.sequence_of[held].view(mask.shape) == pack.sequence_of[held].view(mask.shape)[:, :1]).all()
    assert rows == len(padding.token_of_row)
    assert torch.equal(torch.cat(seen).sort().values, tokens)
    if host_knows:
        assert rows <= sum(lengths) * 8 / 7


@pytest.mark.parametrize("host_knows", [True, False])
@pytest.mark.parametrize("lengths", [[7], [5, 5, 5], [64, 1, 63, 200, 3, 60, 190]])
def test_padded_attention_equals_attention_one_by_one(lengths, host_knows):
    q, k, v = torch.randn(3, sum(lengths), 4, 16).unbind()
    found = attend_padded(plan_padding(pack_of(lengths, host_knows)), q, k, v)
    parts = (x.split(lengths) for x in (q, k, v))
    for ours, *one in zip(found.split(lengths), *parts, strict=True):
        expected = F.scaled_dot_product_attention(*(x.transpose(0, 1) for x in one)).transpose(0, 1)
        torch.testing.assert_close(ours, expected)


def test_auto_chooses_sdpa_on_the_cpu():
    assert resolve_attention_backend("auto", CPU, torch.float32, 64).name == "sdpa"


def test_what_cannot_run_on_the_cpu_is_not_imported_to_find_out(monkeypatch):
    monkeypatch.setattr(attention, "_varlen_attn", lambda: pytest.fail("it takes two seconds"))
    assert resolve_attention_backend("auto", CPU, torch.float32, 64).name == "sdpa"


def test_auto_prefers_our_own_kernel(modern_gpu, monkeypatch):
    monkeypatch.setattr(availability, "_triton_unavailable_reason", lambda: "")
    assert resolve_attention_backend("auto", CUDA, torch.bfloat16, 64).name == "triton"


def test_auto_chooses_flash_attn_next_if_it_is_installed(modern_gpu, no_triton, monkeypatch):
    module = type(sys)("flash_attn")
    module.flash_attn_varlen_func = lambda *args, **kwargs: None
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    assert resolve_attention_backend("auto", CUDA, torch.float16, 64).name == "flash-attn"


def test_auto_chooses_pytorchs_kernel_after_that(modern_gpu, no_triton, no_flash_attn):
    pytest.importorskip("torch.nn.attention.varlen", reason="PyTorch before 2.10")
    assert resolve_attention_backend("auto", CUDA, torch.bfloat16, 64).name == "torch-varlen"


def test_auto_on_a_gpu_in_fp32_falls_back(modern_gpu, no_flash_attn):
    assert resolve_attention_backend("auto", CUDA, torch.float32, 64).name == "sdpa"


def test_a_requested_backend_reports_why_it_cannot_run(modern_gpu, no_flash_attn, monkeypatch):
    pytest.importorskip("torch.nn.attention.varlen", reason="PyTorch before 2.10")
    monkeypatch.setattr(availability, "_triton_unavailable_reason", lambda: "")
    with pytest.raises(UsageError, match="'flash-attn' cannot run: the package flash-attn cannot be imported"):
        resolve_attention_backend("flash-attn", CUDA, torch.float16, 64)
    with pytest.raises(UsageError, match="needs a CUDA device, not cpu"):
        resolve_attention_backend("torch-varlen", CPU, torch.float16, 64)
    with pytest.raises(UsageError, match="'triton' cannot run: it needs a CUDA device, not cpu"):
        resolve_attention_backend("triton", CPU, torch.float16, 64)
    with pytest.raises(UsageError, match="head_dim must be at most 128, not 512"):
        resolve_attention_backend("triton", CUDA, torch.float16, 512)
    with pytest.raises(UsageError, match=r"fp16 or bf16, not torch\.float32"):
        resolve_attention_backend("torch-varlen", CUDA, torch.float32, 64)
    with pytest.raises(UsageError, match="multiple of 8, at most 256, not 20"):
        resolve_attention_backend("torch-varlen", CUDA, torch.float16, 20)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(UsageError, match="NVIDIA Test is older than Ampere"):
        resolve_attention_backend("torch-varlen", CUDA, torch.float16, 64)


def test_an_older_pytorch_without_varlen_attention_is_reported(modern_gpu, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch.nn.attention.varlen", raising=False)
    real_import = builtins.__import__

    def import_as_before_2_10(name, *args, **kwargs):
        if name == "torch.nn.attention.varlen":
            raise ModuleNotFoundError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", import_as_before_2_10)
    with pytest.raises(UsageError, match=r"has no torch\.nn\.attention\.varlen"):
        resolve_attention_backend("torch-varlen", CUDA, torch.float16, 64)


def test_an_unknown_backend_lists_the_known_ones():
    with pytest.raises(UsageError, match="'flash': choose one of auto, triton, flash-attn, torch-varlen, sdpa"):
        resolve_attention_backend("flash", CPU, torch.float32, 64)
    assert [backend.name for backend in BACKENDS] == ["triton", "flash-attn", "torch-varlen", "sdpa"]


def test_flash_attn_gets_only_arguments_that_all_versions_take(monkeypatch):
    calls = []
    module = type(sys)("flash_attn")
    module.flash_attn_varlen_func = lambda q, k, v, **kwargs: calls.append(kwargs) or q
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    pack = pack_of([2, 3])
    q = torch.zeros(5, 1, 8)
    assert FlashAttnBackend().plan(pack)(q, q, q) is q
    assert calls == [
        {"cu_seqlens_q": pack.cu_seqlens, "cu_seqlens_k": pack.cu_seqlens, "max_seqlen_q": 3, "max_seqlen_k": 3}
    ]
