# SPDX-License-Identifier: MIT
"""How much more device memory a run may leave held than there was before it. Pure."""

from __future__ import annotations

from typing import Final

LEAK_SHARE: Final = 0.02
LEAK_BYTES: Final = 80 * 2**20
"""More than both is a leak. A model's first run keeps less: the work spaces of cuBLAS, on Hopper 32 MiB for each stream
that has computed products, that is the caller's and the one that forwards are recorded on; and the model's tables."""


def is_leak(leaked_bytes: int | None, before_bytes: int | None) -> bool:
    """Whether so much more device memory is more than a run may leave behind; what is not known is no leak."""
    return (leaked_bytes or 0) > max(LEAK_BYTES, LEAK_SHARE * (before_bytes or 0))
