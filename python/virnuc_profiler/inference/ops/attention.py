# SPDX-License-Identifier: MIT
"""Attention within the sequences of a pack, and the choice of its backend."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.kernels.availability import half_precision_unavailable_reason
from virnuc_profiler.inference.kernels.availability import unavailable_reason as kernels_unavailable_reason
from virnuc_profiler.inference.ops.pack import Pack
from virnuc_profiler.inference.ops.padded_attention import attend_padded, plan_padding

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Computes attention: queries, keys and values, each (T, heads, head_dim), to the attended values of the same shape."""


class AttentionBackend(Protocol):
    """An implementation of attention within the sequences of a pack."""

    @property
    def name(self) -> str:
        """Name by which the backend is chosen and recorded."""

    def unavailable_reason(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
        """Return why the backend cannot run; empty if it can.

        Args:
            device: Device that would run it.
            dtype: Data type of queries, keys and values.
            head_dim: Size of one head.
        """

    def plan(self, pack: Pack, out: Tensor | None = None) -> Attend:
        """Prepare what all layers of a pack share, without waiting for the device.

        Args:
            pack: The sequences of the pack.
            out: (T, heads, head_dim), contiguous, that every layer's result may overwrite; None allocates each result.
        """


class TritonBackend:
    """Our own Triton kernel; on an H200 it takes half to two thirds of the time of FlashAttention-2."""

    name = "triton"

    def unavailable_reason(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
        """Return why the kernel cannot run; empty if it can."""
        reason = kernels_unavailable_reason(device, dtype)
        return reason or ("" if head_dim <= 128 else f"head_dim must be at most 128, not {head_dim}")

    def plan(self, pack: Pack, out: Tensor | None = None) -> Attend:
        """Divide the sequences into blocks of queries."""
        from virnuc_profiler.inference.kernels.varlen_attention import attend, plan_blocks

        return partial(attend, plan_blocks(pack.total_tokens, pack.cu_seqlens), out=out)


class FlashAttnBackend:
    """FlashAttention-2 from the package ``flash-attn``."""

    name = "flash-attn"

    def unavailable_reason(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
        """Return why the package cannot run; empty if it can."""
        try:
            _flash_attn_varlen_func()
        except (ImportError, OSError) as error:
            return f"the package flash-attn cannot be imported ({error})"
        return _flash_unavailable_reason(device, dtype, head_dim)

    def plan(self, pack: Pack, out: Tensor | None = None) -> Attend:  # noqa: ARG002
        """Bind the lengths to the kernel's arguments."""
        return partial(
            _flash_attn_varlen_func(),
            cu_seqlens_q=pack.cu_seqlens,
            cu_seqlens_k=pack.cu_seqlens,
            max_seqlen_q=pack.max_seqlen,
            max_seqlen_k=pack.max_seqlen,
        )


class TorchVarlenBackend:
    """PyTorch's own variable-length FlashAttention, since PyTorch 2.10."""

    name = "torch-varlen"

    def unavailable_reason(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
        """Return why the function cannot run; empty if it can."""
        if reason := _flash_unavailable_reason(device, dtype, head_dim):
            return reason  # before the import, which takes two seconds because it imports torch._dynamo
        try:
            _varlen_attn()
        except ImportError:
            return f"PyTorch {torch.__version__} has no torch.nn.attention.varlen (2.10 and later have)"
        return ""

    def plan(self, pack: Pack, out: Tensor | None = None) -> Attend:  # noqa: ARG002
        """Bind the lengths. Other arguments differ between releases; their defaults are right."""
        return partial(
            _varlen_attn(),
            cu_seq_q=pack.cu_seqlens,
            cu_seq_k=pack.cu_seqlens,
            max_q=pack.max_seqlen,
            max_k=pack.max_seqlen,
        )


class SdpaBackend:
    """``scaled_dot_product_attention`` over buckets of similar length; runs on every device and in every data type."""

    name = "sdpa"

    def unavailable_reason(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:  # noqa: ARG002
        """Return an empty string: it always runs."""
        return ""

    def plan(self, pack: Pack, out: Tensor | None = None) -> Attend:  # noqa: ARG002
        """Group the sequences by length."""
        return partial(attend_padded, plan_padding(pack))


BACKENDS: Final[tuple[AttentionBackend, ...]] = (
    TritonBackend(),
    FlashAttnBackend(),
    TorchVarlenBackend(),
    SdpaBackend(),
)
"""All backends, fastest first."""


def resolve_attention_backend(wanted: str, device: torch.device, dtype: torch.dtype, head_dim: int) -> AttentionBackend:
    """Return the backend that a request names.

    Args:
        wanted: Name of a backend, or ``auto`` for the first that can run.
        device: Device that runs the model.
        dtype: Data type of the activations.
        head_dim: Size of one head.

    Raises:
        UsageError: There is no such backend, or it cannot run; the message says why.
    """
    if wanted == "auto":
        return next(backend for backend in BACKENDS if not backend.unavailable_reason(device, dtype, head_dim))
    for backend in BACKENDS:
        if backend.name == wanted:
            reason = backend.unavailable_reason(device, dtype, head_dim)
            if reason:
                raise UsageError(f"attention {wanted!r} cannot run: {reason}; use attention='auto'")
            return backend
    names = ", ".join(["auto", *(backend.name for backend in BACKENDS)])
    raise UsageError(f"unknown attention {wanted!r}: choose one of {names}")


def _flash_unavailable_reason(device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
    """Return why FlashAttention kernels of any package cannot run; empty if they can."""
    reason = half_precision_unavailable_reason(device, dtype)
    if not reason and (head_dim % 8 or head_dim > 256):
        return f"head_dim must be a multiple of 8, at most 256, not {head_dim}"
    return reason


def _flash_attn_varlen_func() -> Any:
    from flash_attn import flash_attn_varlen_func

    return flash_attn_varlen_func


def _varlen_attn() -> Any:
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn
