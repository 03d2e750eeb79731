# SPDX-License-Identifier: MIT
"""A model that returns the vectors of all tokens beside the vectors of the sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from virnuc_profiler.inference.marks import ForwardMarks
from virnuc_profiler.inference.ops.pooling import mean_pool


class ResidueModel:
    """Makes the runner deliver B + T rows for a batch of B sequences: their vectors, and then those of all T tokens.

    Args:
        model: A model as ``load_esm2_model`` returns it, which returns the vectors of all tokens when it is called.
    """

    def __init__(self, model: Callable[..., Tensor]) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def embed_sequences(
        self,
        tokens: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        host_cu_seqlens: Tensor | None,
        marks: ForwardMarks,
    ) -> Tensor:
        """Compute both.

        Args:
            tokens: (T,) integers, each sequence with its BOS and EOS.
            cu_seqlens: (B + 1,) int32 cumulative lengths.
            max_seqlen: Tokens of the longest sequence.
            host_cu_seqlens: Copy of `cu_seqlens` on the CPU.
            marks: Receiver of the stages.

        Returns:
            (B + T, h) float32.
        """
        on_host = () if host_cu_seqlens is None else (host_cu_seqlens,)
        marks.begin_forward()
        hidden = self._model(tokens, cu_seqlens, max_seqlen, *on_host)
        marks.begin_pooling()
        return torch.cat((mean_pool(hidden, cu_seqlens), hidden.float()))
