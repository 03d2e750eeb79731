# SPDX-License-Identifier: MIT
"""From one vector per token to one per sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from virnuc_profiler.inference.kernels.availability import kernels_run_on
from virnuc_profiler.inference.marks import PassMarks
from virnuc_profiler.inference.ops.pack import Pack


def mean_pool(hidden: Tensor, cu_seqlens: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Averages each sequence's vectors over its residues: the first and last token (BOS, EOS) are left out.

    Sums are in fp32 and in a fixed order, so results do not differ from run to run. Never waits for the device.

    Args:
        hidden: (T, h), one row per token.
        cu_seqlens: (B + 1,) integers on the same device; each sequence has at least one residue.
        out: (B, h) float32, contiguous, where to write; None for new memory.

    Returns:
        (B, h) float32 on the same device.
    """
    if kernels_run_on(hidden.device):
        from virnuc_profiler.inference.kernels.mean_pool import mean_pool as pool_in_one_kernel

        return pool_in_one_kernel(hidden.contiguous(), cu_seqlens, out=out)
    means = _mean_of_segments(hidden, cu_seqlens)
    return means if out is None else out.copy_(means)


def encode_and_pool(
    encode: Callable[[Any, Tensor, Pack], Tensor],
    model: Any,
    tokens: Tensor,
    pack: Pack,
    marks: PassMarks,
) -> Tensor:
    """What `encode` makes of a pack, pooled: (B, h) float32."""
    room = marks.output_buffer(pack.num_sequences, model.embed_dim)
    marks.launches()
    hidden = encode(model, tokens, pack)
    marks.pools()
    return mean_pool(hidden, pack.cu_seqlens, out=room)


def _mean_of_segments(hidden: Tensor, cu_seqlens: Tensor) -> Tensor:
    """In PyTorch's own operations, with an fp32 copy of `hidden`.

    Each sequence is cut into the segments BOS, residues, EOS, so that no residue is ever added to a special token
    and taken off again.
    """
    lengths = cu_seqlens.diff().long()
    special = torch.ones_like(lengths)
    segments = torch.stack((special, lengths - 2, special), dim=1).flatten()
    # "unsafe" leaves out a check that the lengths add up, for which the host would have to wait for the device.
    means = torch.segment_reduce(hidden.float(), "mean", lengths=segments, axis=0, unsafe=True)
    return means.view(-1, 3, hidden.shape[-1])[:, 1].contiguous()
