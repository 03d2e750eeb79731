# SPDX-License-Identifier: MIT
"""Tell batches that were padded from packs, and count what was computed for padding. Pure."""

from __future__ import annotations

from typing import Final

from virnuc_profiler.telemetry.batch_table import BatchTable

_MULTIPLE: Final = 8
"""Rows are often padded to a multiple of this, which tensor cores like."""


def padded_tokens(packed: BatchTable) -> int | None:
    """Return the tokens of padded batches, padding included; None if the batches were not padded.

    A padded batch names the tokens of its rows as its budget: its sequences times its longest one, which may be rounded
    up, or times one length in all batches. The budget of packs is the same for all of them.

    Args:
        packed: Batches with packing statistics.
    """
    columns = packed.columns
    sequences, budgets, longest = columns["sequences"], columns["token_budget"], columns["max_length"]
    if not len(budgets) or (budgets == budgets[0]).all() or (sequences < 1).any() or (budgets % sequences).any():
        return None
    rows = budgets // sequences
    rounded = (rows % _MULTIPLE == 0) & (rows - longest < _MULTIPLE)
    is_padded = (rows >= longest) & ((rows == longest) | rounded | (rows == rows[0]).all())
    return int(budgets.sum()) if is_padded.all() else None
