# SPDX-License-Identifier: MIT
"""Attention within the sequences of a pack, by whatever kernel is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.kernels.availability import half_precision_unavailable_reason
from virnuc_profiler.inference.kernels.availability import unavailable_reason as kernels_unavailable_reason
from virnuc_profiler.inference.ops.pack import Pack

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys and values, each (T, heads, head_dim), to the attended values of the same shape."""


class AttentionBackend(Protocol):
    """One way to attend."""

    @property
    def name(self) -> str:
        """As it is chosen and recorded."""

    def unavailable_reason(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
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

    def unavailable_reason(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
        """Why not; empty if it can run."""
        reason = kernels_unavailable_reason(device, dtype)
        return reason or ("" if head_dim <= 128 else f"heads must be up to 128 wide, not {head_dim}")

    def plan(self, pack: Pack, out: Tensor | None = None) -> Attend:
        """Cuts the sequences into blocks of queries."""
        from virnuc_profiler.inference.kernels.varlen_attention import attend, plan_blocks

        return partial(attend, plan_blocks(pack.total_tokens, pack.cu_seqlens), out=out)


class FlashAttnBackend:
    """The ``flash-attn`` package."""

    name = "flash-attn"

    def unavailable_reason(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
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

    def unavailable_reason(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
        """Why not; empty if it can run."""
        try:
            _varlen_attn()
        except ImportError:
            return f"PyTorch {torch.__version__} has no torch.nn.attention.varlen (2.10 and later have)"
        return _flash_obstacle(device, dtype, head_dim)

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

    def unavailable_reason(self, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:  # noqa: ARG002
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


def resolve_attention_backend(wanted: str, device: torch.device, dtype: torch.dtype, head_dim: int) -> AttentionBackend:
    """Returns the backend called `wanted`, or for ``auto`` the first that can run.

    Raises:
        UsageError: no such backend, or it cannot run there; the message says why.
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


def _flash_obstacle(device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
    """What FlashAttention kernels need, whoever ships them."""
    reason = half_precision_unavailable_reason(device, dtype)
    if not reason and (head_dim % 8 or head_dim > 256):
        return f"heads must be a multiple of 8 up to 256 wide, not {head_dim}"
    return reason


def _flash_attn_varlen_func() -> Any:
    from flash_attn import flash_attn_varlen_func

    return flash_attn_varlen_func


def _varlen_attn() -> Any:
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn


_MIN_SHARE: Final = 7 / 8
"""A bucket's shortest sequence is at least this share of its longest: padding stays below an eighth."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Sequences that are padded to one length.

    Attributes:
        sequences: how many.
        length: of the longest, in tokens.
        key_mask: (sequences, 1, 1, length), False for padding; None if there is none.
    """

    sequences: int
    length: int
    key_mask: Tensor | None


@dataclass(frozen=True, slots=True)
class Padding:
    """How a pack's T tokens are laid out in P padded rows, bucket after bucket.

    Attributes:
        buckets: shortest sequences first.
        token_of_row: (P,) the token that each padded row holds; padding repeats its sequence's last token.
        row_of_token: (T,) the row that holds each token.
    """

    buckets: tuple[Bucket, ...]
    token_of_row: Tensor
    row_of_token: Tensor


def plan_padding(pack: Pack) -> Padding:
    """Lays out a pack. Works with host integers and device tensors side by side, and so never waits.

    Where the host does not know the lengths, all sequences are padded to the longest.
    """
    order = pack.lengths.argsort(stable=True)
    starts, lengths = pack.cu_seqlens[:-1][order].long(), pack.lengths[order].long()
    if pack.host_lengths is None:
        bounds = [(0, order.shape[0], pack.max_seqlen, True)]
    else:
        bounds = _bucket_bounds(sorted(pack.host_lengths))

    buckets, token_of_row, first_rows, rows = [], [], [], 0
    for begin, end, longest, uneven in bounds:
        places = torch.arange(longest, device=order.device)
        own = lengths[begin:end, None]
        buckets.append(Bucket(end - begin, longest, (places < own)[:, None, None] if uneven else None))
        token_of_row.append((starts[begin:end, None] + torch.minimum(places, own - 1)).flatten())
        first_rows.append(torch.arange(end - begin, device=order.device) * longest + rows)
        rows += (end - begin) * longest

    first_row_of_sequence = torch.empty_like(order).scatter_(0, order, torch.cat(first_rows))
    return Padding(
        buckets=tuple(buckets),
        token_of_row=torch.cat(token_of_row),
        row_of_token=first_row_of_sequence[pack.sequence_of] + pack.positions,
    )


def attend_padded(padding: Padding, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attends within each sequence.

    Args:
        padding: the layout.
        q: (T, heads, head_dim), like `k` and `v`.
        k: keys.
        v: values.

    Returns:
        (T, heads, head_dim).
    """
    q, k, v = (x.index_select(0, padding.token_of_row) for x in (q, k, v))
    rows = [bucket.sequences * bucket.length for bucket in padding.buckets]
    parts = zip(padding.buckets, torch.split(q, rows), torch.split(k, rows), torch.split(v, rows), strict=True)
    attended = [_attend(bucket, *part) for bucket, *part in parts]
    return torch.cat(attended).index_select(0, padding.row_of_token)


def _attend(bucket: Bucket, *part: Tensor) -> Tensor:
    """Attends within one bucket; `part` is queries, keys and values, each (rows, heads, head_dim)."""
    q, k, v = (x.view(bucket.sequences, bucket.length, *x.shape[1:]).transpose(1, 2) for x in part)
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bucket.key_mask)
    return attended.transpose(1, 2).flatten(0, 1)


def _bucket_bounds(sorted_lengths: list[int]) -> list[tuple[int, int, int, bool]]:
    """Cuts ascending lengths into (begin, end, longest, uneven)."""
    bounds = []
    begin = 0
    for end in range(1, len(sorted_lengths) + 1):
        shortest = sorted_lengths[begin]
        if end == len(sorted_lengths) or sorted_lengths[end] * _MIN_SHARE > shortest:
            longest = sorted_lengths[end - 1]
            bounds.append((begin, end, longest, longest > shortest))
            begin = end
    return bounds
