# SPDX-License-Identifier: MIT
"""Names of shared memory segments that tell whose they are, even when no process has them open any more.

The kernel does not record which process made a segment, and Python's names are random. So the processes of one run put
a short hash of its owner's mark (see process_mark) into the names, which tells them from those of another run.
"""

from __future__ import annotations

import base64
import hashlib
from multiprocessing import shared_memory
from typing import Final

_OWNER_CHARACTERS: Final = 4
"""Of 5 bits each. Python allows 13 characters in all and needs 4 of them for its random part."""


def segment_prefix(mark: str) -> str:
    """Return how the names of the segments begin that the owner of this mark and its workers make.

    Args:
        mark: The owner's mark, from :func:`~virnuc_profiler.inference.process_mark.own_mark`.
    """
    digest = base64.b32encode(hashlib.sha256(mark.encode()).digest()).decode().lower()
    return f"psm_{digest[:_OWNER_CHARACTERS]}"


def mark_segments(mark: str) -> None:
    """Put the mark into the names of all segments that this process makes through ``multiprocessing.shared_memory``.

    Does nothing in a Python that builds these names in another way.

    Args:
        mark: The mark of the process that the segments belong to.
    """
    module = vars(shared_memory)
    if "_SHM_NAME_PREFIX" in module:
        module["_SHM_NAME_PREFIX"] = f"/{segment_prefix(mark)}"
