# SPDX-License-Identifier: MIT
"""How much device memory counts as a leak. Imports no PyTorch, for processes that only supervise."""

from __future__ import annotations

from typing import Final

LEAK_SHARE: Final = 0.02
LEAK_BYTES: Final = 80 * 2**20
"""Memory beyond both limits is a leak. The first run of a model keeps less: its tables, and cuBLAS workspaces of
32 MiB (on Hopper) for each stream with matmuls, which are the caller's stream and the one that captures CUDA graphs."""


def is_leak(leaked_bytes: int | None, before_bytes: int | None) -> bool:
    """Return whether a run has left more device memory than it may.

    Args:
        leaked_bytes: Bytes that it has left; None if unknown, which is no leak.
        before_bytes: Bytes that were held before it; None if unknown.
    """
    return (leaked_bytes or 0) > max(LEAK_BYTES, LEAK_SHARE * (before_bytes or 0))
