# SPDX-License-Identifier: MIT
"""Choose the encoder of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.esm2.encoders.cuda_graphs import CudaGraphEncoder
from virnuc_profiler.inference.esm2.encoders.eager import EagerEncoder
from virnuc_profiler.inference.esm2.encoders.encoder_contract import EncodedModel
from virnuc_profiler.inference.esm2.encoders.fp8 import Fp8Encoder, fp8_unavailable_reason
from virnuc_profiler.inference.esm2.encoders.fused import FusedEncoder
from virnuc_profiler.inference.kernels.availability import unavailable_reason
from virnuc_profiler.inference.marks import ForwardMarks
from virnuc_profiler.inference.ops.attention import AttentionBackend
from virnuc_profiler.inference.ops.pack import Pack
from virnuc_profiler.inference.ops.pooling import encode_and_pool

Encode = Callable[[EncodedModel, Tensor, Pack], Tensor]
"""Computes the last layer's representation, (T, h), of a pack's (T,) tokens."""

Pooled = Callable[[EncodedModel, Tensor, Pack, ForwardMarks], Tensor]
"""Computes one float32 vector per sequence, (B, h), of a pack's (T,) tokens, and marks the stages."""

KERNELS = ("auto", "triton", "torch")


@dataclass(frozen=True, slots=True)
class Encoder:
    """A way to compute the forward, with and without pooling.

    Attributes:
        encode: Function that computes the last layer's representation.
        pooled: Function that also pools it.
        kernels: Kernels between the matrix products: ``triton`` or ``torch``.
        release: Function that releases memory kept between packs; None if none is kept.
    """

    encode: Encode
    pooled: Pooled
    kernels: str
    release: Callable[[], None] | None = None


def resolve_encoder(
    kernels: str,
    attention: AttentionBackend,
    device: torch.device,
    dtype: torch.dtype,
    cuda_graphs: bool | None,
    fp8: bool = False,
) -> Encoder:
    """Return the fastest encoder that can run within the request.

    Args:
        kernels: Requested kernels: ``auto``, ``triton`` or ``torch``.
        attention: Backend that computes attention.
        device: Device that runs the model.
        dtype: Data type of weights and activations.
        cuda_graphs: Whether to capture CUDA graphs; None decides by the size of model and pack.
        fp8: Whether matrix products run in FP8.

    Raises:
        UsageError: The request cannot run on the device; the message says why.
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
            raise UsageError(f"precision 'fp8' cannot run: {why}; use 'bf16'")
    # Other attention kernels take the longest sequence from the host, and a graph would replay it unchanged.
    capturable = fused and attention.name == "triton"
    if cuda_graphs and not capturable:
        why = reason or f"they need kernels and attention 'triton', not {kernels!r} and {attention.name!r}"
        raise UsageError(f"CUDA graphs cannot be used: {why}; set cuda_graphs to None or False")
    if not fused:
        eager = EagerEncoder(attention)
        return Encoder(eager, partial(encode_and_pool, eager), eager.kernels)
    encoder = Fp8Encoder(attention) if fp8 else FusedEncoder(attention)
    if cuda_graphs is False or not capturable:
        return Encoder(encoder, encoder.pooled, encoder.kernels)
    graphs = CudaGraphEncoder(encoder, always=bool(cuda_graphs))
    return Encoder(graphs, graphs.pooled, encoder.kernels, graphs.release)
