# SPDX-License-Identifier: MIT
"""Find embeddings that contain NaN or infinity: broken weights or an fp16 overflow must not go unnoticed."""

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
"""Accepted values of ``on_non_finite``: warn, or raise."""

_NAMED: Final = 5

_log = logging.getLogger(__name__)


def non_finite_rows(embeddings: Tensor) -> NDArray[np.int64]:
    """Return the indices of the rows that contain NaN or infinity.

    NaN and infinity survive every sum, so one sum over the batch clears it in the usual case. The sum may overflow by
    itself, so only an infinite or NaN sum leads to a check of each row.

    Args:
        embeddings: (B, h) floating point, on the CPU.

    Returns:
        (n,) ascending row indices.
    """
    if math.isfinite(float(embeddings.sum())):
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(~torch.isfinite(embeddings).all(dim=-1).numpy())


def check_finite(embeddings: Tensor, sequence_ids: Sequence[str], batch_idx: int, reaction: str) -> Sequence[str]:
    """Warn about a batch's non-finite embeddings, or raise because of them.

    Args:
        embeddings: (B or more, h) on the CPU, the embeddings of the sequences first.
        sequence_ids: (B,) identifiers.
        batch_idx: Number of the batch, for the message.
        reaction: One of `REACTIONS`.

    Returns:
        Identifiers of the sequences whose embedding is not finite.

    Raises:
        NonFiniteError: An embedding is not finite, and `reaction` is ``raise``.
    """
    rows = non_finite_rows(embeddings[: len(sequence_ids)])
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
