# SPDX-License-Identifier: MIT
"""Selection of NVTX ranges by domain and name, with errors that list what the capture contains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from virnuc_profiler.analysis.nsys.gpu_records import NAMELESS_DOMAIN, GpuCapture, NvtxRange
from virnuc_profiler.errors import UsageError

RUN_DOMAIN: Final = "virnuc_profiler"
"""NVTX domain of this package's runs."""

_SHOWN_NAMES: Final = 10


def select_ranges(
    ranges: Sequence[NvtxRange], domain: str | None = None, names: Sequence[str] | None = None
) -> tuple[NvtxRange, ...]:
    """Select ranges by domain and name.

    Args:
        ranges: Ranges of a capture.
        domain: Name of the domain; None for all domains.
        names: Names of ranges, or patterns for ``fnmatch``; None for all names.

    Raises:
        UsageError: The domain or a name does not occur. The message begins with "has no", so that the name of the
            file can precede it, and lists what the capture contains.
    """
    if not ranges:
        raise UsageError("has no NVTX ranges; capture with nsys profile -t cuda,nvtx")
    inside = [range_ for range_ in ranges if domain is None or range_.domain == domain]
    if not inside:
        raise UsageError(f"has no ranges in the domain {domain}; there are: {_counted(r.domain for r in ranges)}")
    if names is None:
        return tuple(inside)
    known = {range_.name for range_ in inside}
    chosen: set[str] = set()
    for name in names:
        found = {name} & known or {one for one in known if fnmatchcase(one, name)}
        if not found:
            similar = [one for one in inside if one.name.startswith(name)] or inside
            raise UsageError(f"has no range {name}; there are: {_counted(range_.name for range_ in similar)}")
        chosen |= found
    return tuple(range_ for range_ in inside if range_.name in chosen)


def resolve_run_domain(capture: GpuCapture) -> str:
    """Return the domain of this package's runs in a capture.

    Args:
        capture: Capture whose domain may have lost its name: if the usual domain is missing, the only domain without a
            name is returned.
    """
    domains = {range_.domain for range_ in capture.ranges}
    nameless = [domain for domain in domains if domain.startswith(NAMELESS_DOMAIN)]
    return nameless[0] if RUN_DOMAIN not in domains and len(nameless) == 1 else RUN_DOMAIN


def _counted(names: Iterable[str]) -> str:
    counts = Counter(names)
    shown = [f"{name} ({count:,})" for name, count in counts.most_common(_SHOWN_NAMES)]
    return ", ".join(shown) + (f" and {len(counts) - len(shown):,} more" if len(counts) > len(shown) else "")
