# SPDX-License-Identifier: MIT
"""Quantized rows, and the check that refuses FP8 if it is too imprecise."""

import pytest
import torch
import torch.nn.functional as F

from tests.support.packed import TINY, fair_esm_model, packed_batch, proteins
from virnuc_profiler import AsyncInferenceRunner
from virnuc_profiler.errors import PrecisionError, UsageError
from virnuc_profiler.inference.esm2 import precision_check
from virnuc_profiler.inference.esm2.encoders.select import resolve_encoder
from virnuc_profiler.inference.esm2.load import from_fair_esm
from virnuc_profiler.inference.esm2.precision_check import check_precision
from virnuc_profiler.inference.ops.attention import SdpaBackend

DEVICE = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def restored(quantized):
    rows, scales = quantized
    assert rows.dtype == torch.float8_e4m3fn
    assert scales.shape == (len(rows), 1)
    return rows.float() * scales


def assert_within_fp8(found, expected):
    """Check the error against e4m3's three bits of mantissa and its smallest number, 1 / 512."""
    smallest = expected.abs().amax(1, keepdim=True) / 448 / 512
    assert ((found - expected).abs() <= expected.abs() / 16 + smallest + 1e-6).all()


@pytest.mark.gpu  # the interpreter loses the carry if rounding to FP8 reaches the next power of two
def test_rows_keep_their_own_scale():
    from virnuc_profiler.inference.kernels import quantize as quantized

    x = random(7, 320) * torch.logspace(-6, 4, 7, device=DEVICE)[:, None]
    found = restored(quantized.quantize(x))
    assert_within_fp8(found, x)
    torch.testing.assert_close(found.abs().amax(1), x.abs().amax(1))
    assert not restored(quantized.quantize(torch.zeros(3, 64, device=DEVICE))).any()


@pytest.mark.gpu
def test_gelu_and_norm_are_quantized_in_the_same_kernel():
    from virnuc_profiler.inference.kernels import quantize as quantized

    x, *norm = random(5, 480), None, *random(3, 480, seed=2), 1e-5
    assert_within_fp8(restored(quantized.gelu_quantize(x)), F.gelu(x))
    exact = torch.empty_like(x)
    rounded = quantized.norm_quantize(x, *norm, exact=exact)
    assert_within_fp8(restored(rounded), exact)
    unasked = quantized.norm_quantize(x, *norm)
    assert torch.equal(restored(unasked), restored(rounded))


def test_the_norm_updates_the_residual_stream_and_returns_exact_rows():
    quantized = pytest.importorskip("virnuc_profiler.inference.kernels.quantize", exc_type=ImportError)
    x, update, offset, weight, bias = random(5, 480), random(5, 480, seed=1), *random(3, 480, seed=2)
    stream, exact = x.clone(), torch.empty_like(x)
    quantized.norm_quantize(stream, update, offset, weight, bias, 1e-5, exact=exact)
    torch.testing.assert_close(stream, x + update)
    expected = F.layer_norm(x + update + offset, (480,), weight, bias, 1e-5)
    torch.testing.assert_close(exact, expected, rtol=1e-5, atol=1e-5)
    unchanged = x.clone()
    quantized.norm_quantize(unchanged, None, offset, weight, bias, 1e-5)
    assert torch.equal(unchanged, x)


def test_fp8_is_refused_if_it_cannot_run():
    with pytest.raises(UsageError, match="precision 'fp8' cannot run: it needs a CUDA device, not cpu; use 'bf16'"):
        resolve_encoder("auto", SdpaBackend(), torch.device("cpu"), torch.bfloat16, None, fp8=True)


@pytest.fixture
def model():
    return from_fair_esm(fair_esm_model(TINY), dtype=torch.bfloat16)


def test_the_check_reports_how_close_the_vectors_are(model):
    batch = packed_batch(proteins([30, 50, 9]))
    report = check_precision(model, batch.tokens, batch.cu_seqlens, batch.max_seqlen)
    assert report.sequences == 3
    assert report.bf16_min == pytest.approx(1.0, abs=1e-6)  # this model is in bf16 itself
    assert 0.999 < report.fp32_min <= report.fp32_mean <= 1.0 + 1e-6
    assert "cosine similarity of 3 vectors" in str(report)


def test_vectors_below_the_limit_are_refused(model, monkeypatch):
    batch = packed_batch(proteins([30, 50]))
    with pytest.raises(PrecisionError, match=r"too imprecise for custom.*at least 1\.1 is required: use bf16"):
        check_precision(model, batch.tokens, batch.cu_seqlens, batch.max_seqlen, min_cosine=1.1)
    model.final_norm.bias.fill_(float("nan"))
    with pytest.raises(PrecisionError):
        check_precision(model, batch.tokens, batch.cu_seqlens, batch.max_seqlen, min_cosine=0.0)


def test_a_run_checks_its_first_sequences(model, monkeypatch):
    model.fp8 = True  # it still computes in bf16, because there is no GPU
    batches = [packed_batch(proteins([30, 50])), packed_batch(proteins([40]))]
    runner = AsyncInferenceRunner(model, "cpu")
    assert len(list(runner.run(batches))) == 2
    assert runner.precision.sequences == 2
    monkeypatch.setattr(precision_check, "MAX_TOKENS", 40)
    list(runner.run(batches))
    assert runner.precision.sequences == 1
    with pytest.raises(PrecisionError, match=r"at least 1\.5"):
        list(AsyncInferenceRunner(model, "cpu", min_cosine=1.5).run(batches))
    unchecked = AsyncInferenceRunner(model, "cpu", min_cosine=None)
    list(unchecked.run(batches))
    assert unchecked.precision is None
