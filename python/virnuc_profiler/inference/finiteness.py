# SPDX-License-Identifier: MIT
"""Embeddings that are not numbers: a model with broken weights, or fp16 out of its range, must not go unseen."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from itertools import islice
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from virnuc_profiler.errors import NonFiniteError
from virnuc_profiler.telemetry.values import printable

REPORT: Final = "report"
RAISE: Final = "raise"
REACTIONS: Final = (REPORT, RAISE)
"""What can be done about a batch with such embeddings."""

_NAMED: Final = 5

_log = logging.getLogger(__name__)


def non_finite_rows(embeddings: Tensor) -> NDArray[np.int64]:
    """Which rows hold NaN or infinity.

    Costs one pass over the batch if none does: NaN and infinity survive every sum. That sum may also overflow by
    itself, so it only acquits.

    Args:
        embeddings: (B, h) floating point, on the CPU.

    Returns:
        (n,) ascending.
    """
    if math.isfinite(float(embeddings.sum())):
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(~torch.isfinite(embeddings).all(dim=-1).numpy())


def check_finite(embeddings: Tensor, sequence_ids: Sequence[str], batch_idx: int, reaction: str) -> Sequence[str]:
    """Warns of a batch's non-finite embeddings, or raises because of them.

    Args:
        embeddings: (B, h) on the CPU.
        sequence_ids: (B,) identifiers.
        batch_idx: for the message.
        reaction: one of `REACTIONS`.

    Returns:
        The identifiers of the sequences whose embedding is not finite.

    Raises:
        NonFiniteError: there are some, and `reaction` is ``raise``.
    """
    rows = non_finite_rows(embeddings)
    if not len(rows):
        return ()
    found = [sequence_ids[row] for row in rows.tolist()]
    message = (
        f"NaN or infinity in the embeddings of {len(found)} of the {len(sequence_ids)} sequences of batch {batch_idx}: "
        f"{_some_of(found)}; check the weights, and try precision 'bf16' or 'fp32' if this is 'fp16'"
    )
    if reaction == RAISE:
        raise NonFiniteError(message, found)
    _log.warning("%s", message)
    return found


def _some_of(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(printable(name) for name in islice(names, _NAMED)) + (f" and {more} more" if more > 0 else "")
