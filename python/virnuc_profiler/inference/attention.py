# SPDX-License-Identifier: MIT
"""Attention within the sequences of a pack, by whatever kernel is there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.kernels.availability import half_precision_obstacle
from virnuc_profiler.inference.kernels.availability import obstacle as kernels_obstacle
from virnuc_profiler.inference.pack import Pack
from virnuc_profiler.inference.padded_attention import attend_padded, plan_padding

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys and values, each (T, heads, head_dim), to the attended values of the same shape."""


class AttentionBackend(Protocol):
    """One way to attend."""

    @property
    def name(self) -> str:
        """As it is chosen and recorded."""

    def obstacle(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
        """Why this backend cannot run there; empty if it can."""

    def plan(self, pack: Pack, out: Tensor | None = None) -> Attend:
        """Prepares what all layers share for this pack, without waiting for the device.

        Args:
            pack: see there.
            out: (T, heads, head_dim), contiguous, where all layers' results may be written, one over the other.
        """


class TritonBackend:
    """Our own kernel; on an H200 in half to two thirds of the time of FlashAttention-2."""

    name = "triton"

    def obstacle(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
        """Why not; empty if it can run."""
        reason = kernels_obstacle(device, dtype)
        return reason or ("" if head_dim <= 128 else f"heads must be up to 128 wide, not {head_dim}")

    def plan(self, pack: Pack, out: Tensor | None = None) -> Attend:
        """Cuts the sequences into blocks of queries."""
        from virnuc_profiler.inference.kernels.attention import attend, plan_blocks

        return partial(attend, plan_blocks(pack.total_tokens, pack.cu_seqlens), out=out)


class FlashAttnBackend:
    """The ``flash-attn`` package."""

    name = "flash-attn"

    def obstacle(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
        """Why not; empty if it can run."""
        try:
            _flash_attn_varlen_func()
        except (ImportError, OSError) as error:
            return f"the package flash-attn cannot be imported ({error})"
        return _flash_obstacle(device, dtype, head_dim)

    def plan(self, pack: Pack, out: Tensor | None = None) -> Attend:  # noqa: ARG002
        """Binds the lengths."""
        return partial(
            _flash_attn_varlen_func(),
            cu_seqlens_q=pack.cu_seqlens,
            cu_seqlens_k=pack.cu_seqlens,
            max_seqlen_q=pack.max_seqlen,
            max_seqlen_k=pack.max_seqlen,
        )


class TorchVarlenBackend:
    """PyTorch's own variable-length FlashAttention, from PyTorch 2.10 on."""

    name = "torch-varlen"

    def obstacle(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
        """Why not; empty if it can run."""
        if reason := _flash_obstacle(device, dtype, head_dim):
            return reason  # first: the import takes two seconds, as it brings torch._dynamo
        try:
            _varlen_attn()
        except ImportError:
            return f"PyTorch {torch.__version__} has no torch.nn.attention.varlen (2.10 and later have)"
        return ""

    def plan(self, pack: Pack, out: Tensor | None = None) -> Attend:  # noqa: ARG002
        """Binds the lengths. The other arguments changed with every release; their defaults are right."""
        return partial(
            _varlen_attn(),
            cu_seq_q=pack.cu_seqlens,
            cu_seq_k=pack.cu_seqlens,
            max_q=pack.max_seqlen,
            max_k=pack.max_seqlen,
        )


class SdpaBackend:
    """``scaled_dot_product_attention`` over sequences of similar length: runs everywhere, in every dtype."""

    name = "sdpa"

    def obstacle(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:  # noqa: ARG002
        """Never any."""
        return ""

    def plan(self, pack: Pack, out: Tensor | None = None) -> Attend:  # noqa: ARG002
        """Groups sequences by length."""
        return partial(attend_padded, plan_padding(pack))


BACKENDS: Final[tuple[AttentionBackend, ...]] = (
    TritonBackend(),
    FlashAttnBackend(),
    TorchVarlenBackend(),
    SdpaBackend(),
)
"""Best first."""


def choose_backend(wanted: str, device: torch.device, dtype: torch.dtype, head_dim: int) -> AttentionBackend:
    """Returns the backend called `wanted`, or for ``auto`` the first that can run.

    Raises:
        UsageError: no such backend, or it cannot run there; the message says why.
    """
    if wanted == "auto":
        return next(backend for backend in BACKENDS if not backend.obstacle(device, dtype, head_dim))
    for backend in BACKENDS:
        if backend.name == wanted:
            reason = backend.obstacle(device, dtype, head_dim)
            if reason:
                raise UsageError(f"attention {wanted!r} cannot run: {reason}; use attention='auto'")
            return backend
    names = ", ".join(["auto", *(backend.name for backend in BACKENDS)])
    raise UsageError(f"unknown attention {wanted!r}: choose one of {names}")


def _flash_obstacle(device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
    """What FlashAttention kernels need, whoever ships them."""
    reason = half_precision_obstacle(device, dtype)
    if not reason and (head_dim % 8 or head_dim > 256):
        return f"heads must be a multiple of 8 up to 256 wide, not {head_dim}"
    return reason


def _flash_attn_varlen_func() -> Any:
    from flash_attn import flash_attn_varlen_func

    return flash_attn_varlen_func


def _varlen_attn() -> Any:
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn
