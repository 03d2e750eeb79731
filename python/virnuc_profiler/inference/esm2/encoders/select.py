# SPDX-License-Identifier: MIT
"""Which encoder computes a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.esm2.encoders.contract import EncodedModel
from virnuc_profiler.inference.esm2.encoders.cuda_graphs import ForwardGraphs
from virnuc_profiler.inference.esm2.encoders.eager import EagerEncoder
from virnuc_profiler.inference.esm2.encoders.fp8 import Fp8Encoder, fp8_unavailable_reason
from virnuc_profiler.inference.esm2.encoders.fused import FusedEncoder
from virnuc_profiler.inference.kernels.availability import unavailable_reason
from virnuc_profiler.inference.marks import PassMarks
from virnuc_profiler.inference.ops.attention import AttentionBackend
from virnuc_profiler.inference.ops.pack import Pack
from virnuc_profiler.inference.ops.pooling import encode_and_pool

Encode = Callable[[EncodedModel, Tensor, Pack], Tensor]
"""(T,) tokens of a pack to the last layer's representation, (T, h)."""

Pooled = Callable[[EncodedModel, Tensor, Pack, PassMarks], Tensor]
"""(T,) tokens of a pack to one vector per sequence, (B, h) fp32; tells what it is about to queue."""

KERNELS = ("auto", "triton", "torch")


@dataclass(frozen=True, slots=True)
class Encoder:
    """A way to compute the forward, alone and pooled.

    Attributes:
        encode: computes it.
        pooled: computes it, and pools.
        kernels: whose it runs.
        release: lets go of memory that is kept between packs.
    """

    encode: Encode
    pooled: Pooled
    kernels: str
    release: Callable[[], None] = lambda: None


def resolve_encoder(
    kernels: str,
    attention: AttentionBackend,
    device: torch.device,
    dtype: torch.dtype,
    cuda_graphs: bool | None,
    fp8: bool = False,
) -> Encoder:
    """Returns the fastest that can run, within what is asked for.

    Raises:
        UsageError: what is asked for cannot run there; the message says why.
    """
    if kernels not in KERNELS:
        raise UsageError(f"unknown kernels {kernels!r}: choose one of {', '.join(KERNELS)}")
    reason = unavailable_reason(device, dtype)
    if kernels == "triton" and reason:
        raise UsageError(f"kernels 'triton' cannot run: {reason}; use kernels='auto'")
    fused = kernels != "torch" and not reason
    if fp8:
        why = fp8_unavailable_reason(device, dtype) or ("" if fused else "it needs kernels 'triton', not 'torch'")
        if why:
            raise UsageError(f"precision 'fp8' cannot be had: {why}; use 'bf16'")
    # Other attention kernels are told the longest sequence by the host, which a recording would not follow.
    recordable = fused and attention.name == "triton"
    if cuda_graphs and not recordable:
        why = reason or f"they need kernels and attention 'triton', not {kernels!r} and {attention.name!r}"
        raise UsageError(f"CUDA graphs cannot be used: {why}; leave cuda_graphs at None")
    if not fused:
        plain = EagerEncoder(attention)
        return Encoder(plain, partial(encode_and_pool, plain), plain.kernels)
    encoder = Fp8Encoder(attention) if fp8 else FusedEncoder(attention)
    if cuda_graphs is False or not recordable:
        return Encoder(encoder, partial(encode_and_pool, encoder), encoder.kernels)
    graphs = ForwardGraphs(encoder, always=bool(cuda_graphs))
    return Encoder(graphs, graphs.pooled, encoder.kernels, graphs.release)
