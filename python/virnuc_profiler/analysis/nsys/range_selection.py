# SPDX-License-Identifier: MIT
"""Selection of NVTX ranges by domain and name, with errors that list what the capture contains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from fnmatch import fnmatchcase
from typing import Final

import numpy as np

from virnuc_profiler.analysis.nsys.gpu_capture import Codes, GpuCapture, Ranges
from virnuc_profiler.analysis.nsys.gpu_records import NAMELESS_DOMAIN
from virnuc_profiler.errors import UsageError
from virnuc_profiler.telemetry.stage_columns import Column, Mask

RUN_DOMAIN: Final = "virnuc_profiler"
"""NVTX domain of this package's runs."""

_SHOWN_NAMES: Final = 10


def select_ranges(ranges: Ranges, domain: str | None = None, names: Sequence[str] | None = None) -> Ranges:
    """Select ranges by domain and name; see :func:`select_positions`.

    Args:
        ranges: Ranges of a capture.
        domain: Name of the domain; None for all domains.
        names: Names of ranges, or patterns for ``fnmatch``; None for all names.

    Raises:
        UsageError: The domain or a name does not occur.
    """
    return ranges.take(select_positions(ranges, domain, names))


def select_positions(
    ranges: Ranges, domain: str | None = None, names: Sequence[str] | None = None, operators: Ranges | None = None
) -> Column:
    """Return the positions of the ranges of a domain and of some names, in ascending order.

    Args:
        ranges: Ranges of a capture.
        domain: Name of the domain; None for all domains.
        names: Names of ranges, or patterns for ``fnmatch``; None for all names.
        operators: The same ranges, named by their operators, to select by those names too; None for the names alone.

    Raises:
        UsageError: The domain or a name does not occur. The message begins with "has no", so that the name of the
            file can precede it, and lists what the capture contains.
    """
    if not len(ranges):
        raise UsageError("has no NVTX ranges; capture with nsys profile -t cuda,nvtx")
    inside = np.ones(len(ranges), np.bool_)
    if domain is not None:
        inside = _is(ranges, ranges.domain, {domain})
        if not inside.any():
            counts = _counts(ranges, ranges.domain)
            raise UsageError(f"has no ranges in the domain {domain}; there are: {_listed(counts)}")
    if names is None:
        return np.flatnonzero(inside)
    spellings = [spelling for spelling in (operators, ranges) if spelling is not None]
    known = [_counts(spelling, spelling.name[inside]) for spelling in spellings]
    chosen = np.zeros(len(ranges), np.bool_)
    for name in names:
        found = [_matching(name, counts) for counts in known]
        if not any(found):
            similar = {one: count for one, count in known[0].items() if one.startswith(name)} or known[0]
            raise UsageError(f"has no range {name}; there are: {_listed(similar)}")
        for spelling, matching in zip(spellings, found, strict=True):
            chosen |= _is(spelling, spelling.name, matching)
    return np.flatnonzero(inside & chosen)


def resolve_run_domain(capture: GpuCapture) -> str:
    """Return the domain of this package's runs in a capture.

    Args:
        capture: Capture whose domain may have lost its name: if the usual domain is missing, the only domain without a
            name is returned.
    """
    domains = _counts(capture.ranges, capture.ranges.domain)
    nameless = [domain for domain in domains if domain.startswith(NAMELESS_DOMAIN)]
    return nameless[0] if RUN_DOMAIN not in domains and len(nameless) == 1 else RUN_DOMAIN


def ranges_named(ranges: Ranges, names: Iterable[str]) -> Ranges:
    """Return the ranges with some names, of which there may be none.

    Args:
        ranges: Ranges of a capture.
        names: Names to select.
    """
    return ranges.take(_is(ranges, ranges.name, set(names)))


def _counts(ranges: Ranges, codes: Codes) -> dict[str, int]:
    """Return the names that occur, in the order of their first occurrences, with their numbers of ranges."""
    found, first, counts = np.unique(codes, return_index=True, return_counts=True)
    order = np.argsort(first)
    return {ranges.names[code]: count for code, count in zip(found[order], counts[order].tolist(), strict=True)}


def _is(ranges: Ranges, codes: Codes, names: Set[str]) -> Mask:
    wanted = np.fromiter(map(names.__contains__, ranges.names), np.bool_, len(ranges.names))
    return wanted[codes]


def _matching(name: str, known: Mapping[str, int]) -> Set[str]:
    """Return the known names that a name or pattern means: itself, if it is one."""
    return {name} & known.keys() or {one for one in known if fnmatchcase(one, name)}


def _listed(counts: Mapping[str, int]) -> str:
    shown = [f"{name} ({count:,})" for name, count in Counter(counts).most_common(_SHOWN_NAMES)]
    return ", ".join(shown) + (f" and {len(counts) - len(shown):,} more" if len(counts) > len(shown) else "")
