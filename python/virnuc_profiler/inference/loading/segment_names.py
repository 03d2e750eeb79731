# SPDX-License-Identifier: MIT
"""Shared memory segments whose names show their owner, even when no process has them open any more.

The kernel does not record which process made a segment, and Python's names are random. So the processes of one run put
a short hash of their owner's tag (see ``owner_tag``) into the names, which separates them from those of another run.
"""

from __future__ import annotations

import base64
import hashlib
from multiprocessing import shared_memory
from typing import Final

_OWNER_CHARACTERS: Final = 4
"""Of 5 bits each. Python allows 13 characters in all and needs 4 of them for its random part."""


def segment_prefix(tag: str) -> str:
    """Return the prefix of all segments that the owner of a tag and its workers make.

    Args:
        tag: Tag of the owner, from :func:`~virnuc_profiler.inference.loading.owner_tag.owner_tag`.
    """
    digest = base64.b32encode(hashlib.sha256(tag.encode()).digest()).decode().lower()
    return f"psm_{digest[:_OWNER_CHARACTERS]}"


def tag_segments(tag: str) -> None:
    """Put a tag into the names of all segments that this process makes through ``multiprocessing.shared_memory``.

    This is a no-op in a Python that builds these names in another way.

    Args:
        tag: Tag of the process that owns the segments.
    """
    module = vars(shared_memory)
    if "_SHM_NAME_PREFIX" in module:
        module["_SHM_NAME_PREFIX"] = f"/{segment_prefix(tag)}"
