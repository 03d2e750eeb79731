# SPDX-License-Identifier: MIT
"""Pool one vector per token into one vector per sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from virnuc_profiler.inference.kernels.availability import kernels_supported
from virnuc_profiler.inference.marks import ForwardMarks
from virnuc_profiler.inference.ops.pack import Pack


def mean_pool(hidden: Tensor, cu_seqlens: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Average each sequence's vectors over its residues, excluding the first and last token (BOS and EOS).

    Sums are in fp32 and in a fixed order, so results are the same in every run. Never waits for the device.

    Args:
        hidden: (T, h), one row per token.
        cu_seqlens: (B + 1,) integers on the same device; each sequence has at least one residue.
        out: (B, h) float32 output, contiguous; None allocates it.

    Returns:
        (B, h) float32 on the same device.
    """
    if kernels_supported(hidden.device):
        from virnuc_profiler.inference.kernels.mean_pool import mean_pool as mean_pool_kernel

        return mean_pool_kernel(hidden.contiguous(), cu_seqlens, out=out)
    means = _mean_of_segments(hidden, cu_seqlens)
    return means if out is None else out.copy_(means)


def encode_and_pool(
    encode: Callable[[Any, Tensor, Pack], Tensor],
    model: Any,
    tokens: Tensor,
    pack: Pack,
    marks: ForwardMarks,
) -> Tensor:
    """Run an encoder on a pack and pool the result.

    Args:
        encode: Function that computes the last layer's representation, (T, h).
        model: Model that is passed to `encode`.
        tokens: (T,) integers.
        pack: The sequences of the pack.
        marks: Receiver of the stages, and provider of the output memory.

    Returns:
        (B, h) float32.
    """
    output = marks.output_buffer(pack.num_sequences, model.hidden_size)
    marks.begin_forward()
    hidden = encode(model, tokens, pack)
    marks.begin_pooling()
    return mean_pool(hidden, pack.cu_seqlens, out=None if output is None else output.vectors)


def _mean_of_segments(hidden: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Pool with PyTorch's own operations, on an fp32 copy of `hidden`.

    Each sequence is divided into the segments BOS, residues and EOS, so that no special token is added to a sum and
    subtracted again.
    """
    lengths = cu_seqlens.diff().long()
    special = torch.ones_like(lengths)
    segments = torch.stack((special, lengths - 2, special), dim=1).flatten()
    # unsafe=True skips a check of the lengths that would make the host wait for the device.
    means = torch.segment_reduce(hidden.float(), "mean", lengths=segments, axis=0, unsafe=True)
    return means.view(-1, 3, hidden.shape[-1])[:, 1].contiguous()
