# SPDX-License-Identifier: MIT
"""What becomes of an adapter's vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import torch

Emit: TypeAlias = "Callable[[Sequence[str], torch.Tensor], None]"
"""Takes the identifiers of a batch and its vectors, (B, h) on the host."""


def drop_vectors(ids: Sequence[str], vectors: torch.Tensor) -> None:
    """No-op: the vectors are computed for their timing only."""
