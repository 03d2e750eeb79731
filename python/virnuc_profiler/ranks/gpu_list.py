# SPDX-License-Identifier: MIT
"""The GPUs that ``--gpus`` names, as the entries of CUDA_VISIBLE_DEVICES by which each rank sees its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from virnuc_profiler.errors import UsageError

ALL: Final = "all"


def visible_entries(variable: str | None, uuids: Sequence[str]) -> list[str]:
    """Return an entry for each device that ranks can be given.

    Args:
        variable: Value of CUDA_VISIBLE_DEVICES; None if it is not set.
        uuids: UUIDs of the devices that CUDA shows to this process, which are those that the variable names. A process
            sees one MIG instance at most, so several of them are known from the variable alone.
    """
    named = [part.strip() for part in (variable or "").split(",")]
    return named if len(named) > 1 and all(part.startswith("MIG-") for part in named) else list(uuids)


def choose_gpus(request: str, entries: Sequence[str]) -> list[str]:
    """Return the entries that a request names.

    Args:
        request: ``all``, the number of GPUs to use, or a list of ordinals such as ``0,2``.
        entries: Entries of all devices, in CUDA's order.

    Raises:
        UsageError: There are no such devices, or one is named twice.
    """
    count = len(entries)
    if not count:
        raise UsageError(f"--gpus {request}: this process sees no GPU; see virnuc-profiler doctor, or use --ranks N")
    present = "one GPU, 0" if count == 1 else f"{count} GPUs, 0 to {count - 1}"
    if request == ALL:
        return list(entries)
    if re.fullmatch(r"[0-9]{1,4}", request):
        wanted = int(request)
        if not 1 <= wanted <= count:
            raise UsageError(f"--gpus {request} is a number of GPUs, and this process sees {present}")
        return list(entries[:wanted])
    ordinals = parse_ordinals(request)
    if missing := [ordinal for ordinal in ordinals if ordinal >= count]:
        raise UsageError(f"--gpus {request} names GPU {missing[0]}, and this process sees {present}")
    return [entries[ordinal] for ordinal in ordinals]


def parse_ordinals(request: str) -> list[int]:
    """Read a list of ordinals such as ``0,2``, where a comma makes ``2,`` a list of one.

    Raises:
        UsageError: It is something else, or names a GPU twice.
    """
    if not re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4})*,?", request):
        raise UsageError(f"--gpus {request!r} is not all, a number of GPUs, or a list of them such as 0,2")
    ordinals = [int(part) for part in request.split(",") if part]
    if len(set(ordinals)) < len(ordinals):
        raise UsageError(f"--gpus {request} names a GPU twice; each rank needs one of its own")
    return ordinals
