# SPDX-License-Identifier: MIT
"""Batches of a given number of tokens, by which the memory of a program is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

_LONGEST: Final = 1024
"""Length in tokens of the sequences of a probe, unless it has fewer tokens."""

_RESIDUE: Final = 5
"""Token that the sequences of a probe consist of."""


def probe_pack(tokens: int) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return a pack of about `tokens` tokens: (T,) token ids, (sequences + 1,) cumulative lengths, longest length.

    Args:
        tokens: Tokens of the pack, which consists of sequences of one length.
    """
    import torch

    longest = max(min(tokens, _LONGEST), 3)
    cu_seqlens = torch.arange(max(tokens // longest, 1) + 1, dtype=torch.int32) * longest
    return torch.full((int(cu_seqlens[-1]),), _RESIDUE), cu_seqlens, longest


def probe_padded(forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], tokens: int, device: str) -> None:
    """Run one batch of long sequences, whose memory is the most that a batch of that size takes.

    Args:
        forward: Model that turns token ids and mask, (B, longest), into vectors, (B, longest, h).
        tokens: Tokens of the batch, padding included.
        device: Device of the model.
    """
    import torch

    ids, cu_seqlens, longest = probe_pack(tokens)
    ids = ids.view(len(cu_seqlens) - 1, longest).to(device)
    with torch.inference_mode():
        mask = torch.ones_like(ids)
        forward(ids, mask).mean(1).cpu()
