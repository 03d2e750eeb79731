# SPDX-License-Identifier: MIT
"""Attention by PyTorch's scaled_dot_product_attention, over buckets of sequences padded to one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from virnuc_profiler.inference.ops.pack import Pack

_MIN_SHARE: Final = 7 / 8
"""Smallest ratio of a bucket's shortest to its longest sequence, which keeps padding below an eighth."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Sequences that are padded to one length.

    Attributes:
        sequences: Number of sequences.
        length: Tokens of the longest.
        key_mask: (sequences, 1, 1, length), False for padding; None if there is no padding.
    """

    sequences: int
    length: int
    key_mask: Tensor | None


@dataclass(frozen=True, slots=True)
class Padding:
    """The layout of a pack's T tokens in P padded rows, bucket after bucket.

    Attributes:
        buckets: Buckets, shortest sequences first.
        bucket_rows: Padded rows of each bucket.
        token_of_row: (P,) token in each padded row; padding repeats the last token of its sequence.
        row_of_token: (T,) row of each token.
    """

    buckets: tuple[Bucket, ...]
    bucket_rows: list[int]
    token_of_row: Tensor
    row_of_token: Tensor


def plan_padding(pack: Pack) -> Padding:
    """Lay out a pack in buckets. Never waits for the device: the shapes come from host integers only.

    If the host does not know the lengths, all sequences are padded to the longest.
    """
    order = pack.lengths.argsort(stable=True)
    starts, lengths = pack.cu_seqlens[:-1][order].long(), pack.lengths[order].long()
    if pack.host_lengths is None:
        bounds = [(0, order.shape[0], pack.max_seqlen, True)]
    else:
        bounds = _bucket_bounds(sorted(pack.host_lengths))

    buckets, bucket_rows, token_of_row, first_rows = [], [], [], []
    rows = 0
    for begin, end, longest, uneven in bounds:
        places = torch.arange(longest, device=order.device)
        own = lengths[begin:end, None]
        buckets.append(Bucket(end - begin, longest, (places < own)[:, None, None] if uneven else None))
        token_of_row.append((starts[begin:end, None] + torch.minimum(places, own - 1)).flatten())
        first_rows.append(torch.arange(end - begin, device=order.device) * longest + rows)
        bucket_rows.append((end - begin) * longest)
        rows += bucket_rows[-1]

    first_row_of_sequence = torch.empty_like(order).scatter_(0, order, torch.cat(first_rows))
    return Padding(
        buckets=tuple(buckets),
        bucket_rows=bucket_rows,
        token_of_row=torch.cat(token_of_row),
        row_of_token=first_row_of_sequence[pack.sequence_of] + pack.positions,
    )


def attend_padded(padding: Padding, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute attention within each sequence.

    Args:
        padding: Layout of the pack.
        q: (T, heads, head_dim) queries.
        k: (T, heads, head_dim) keys.
        v: (T, heads, head_dim) values.

    Returns:
        (T, heads, head_dim).
    """
    q, k, v = (x.index_select(0, padding.token_of_row) for x in (q, k, v))
    rows = padding.bucket_rows
    parts = zip(padding.buckets, torch.split(q, rows), torch.split(k, rows), torch.split(v, rows), strict=True)
    attended = [_attend(bucket, *part) for bucket, *part in parts]
    return torch.cat(attended).index_select(0, padding.row_of_token)


def _attend(bucket: Bucket, *part: Tensor) -> Tensor:
    """Compute attention within one bucket; `part` is queries, keys and values, each (rows, heads, head_dim)."""
    q, k, v = (x.view(bucket.sequences, bucket.length, *x.shape[1:]).transpose(1, 2) for x in part)
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bucket.key_mask)
    return attended.transpose(1, 2).flatten(0, 1)


def _bucket_bounds(sorted_lengths: list[int]) -> list[tuple[int, int, int, bool]]:
    """Divide ascending lengths into buckets (begin, end, longest, uneven)."""
    bounds = []
    begin = 0
    for end in range(1, len(sorted_lengths) + 1):
        shortest = sorted_lengths[begin]
        if end == len(sorted_lengths) or sorted_lengths[end] * _MIN_SHARE > shortest:
            longest = sorted_lengths[end - 1]
            bounds.append((begin, end, longest, longest > shortest))
            begin = end
    return bounds
