# SPDX-License-Identifier: MIT
"""GPU time of a capture by name of NVTX ranges and by device, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from virnuc_profiler.analysis.nsys.totals import DeviceTotal, RangeTotal, RangeTotals
from virnuc_profiler.reports.captures.correlation_table import render_kernels
from virnuc_profiler.reports.columns import filled, fitted, shortened
from virnuc_profiler.reports.figures import milliseconds, words

_MAX_TEXT: Final = 4096
"""Characters of a name that are looked at."""

_RANGES: Final = (
    "Domain", "Range", "Ranges", "On GPU", "Operations", "GPU sum", "GPU busy", "Idle", "Span p50", "Delay p50",
)  # fmt: skip
_DEVICES: Final = ("Device", "Operations", "GPU sum", "Kernels", "GPU busy", "Span")
_LEGEND: Final = (
    "Times in ms. Sum and busy: overlaps counted separately or once. Idle: within the spans. "
    "Delay: from the launching call to the first start."
)


def render_ranges(
    totals: RangeTotals,
    title: str,
    notes: Sequence[str],
    work: Sequence[str],
    *,
    top: int,
    width: int,
    kernels: int,
) -> str:
    """Render one line per range name, the most GPU time first.

    Args:
        totals: Totals by range name.
        title: First line.
        notes: Sentences below the table.
        work: Table of what the ranges explain of the GPU work of the capture.
        top: Maximum number of names to show.
        width: Maximum number of characters of a line; long names are cut to 45 % of it.
        kernels: Maximum number of kernels to show per name; 0 for no kernels.
    """
    shown = totals.largest(top)
    lines = fitted([_RANGES, *(_range_row(total, width * 9 // 20) for total in shown)], width, left=2)
    rule = "=" * max(map(len, lines))
    text = [*filled(title, width), rule, *lines, rule]
    if len(totals) > top:
        text += filled(f"and {len(totals) - top:,} more names; --range NAME selects some, --top N shows more", width)
    for sentence in (_LEGEND, *notes):
        text += filled(sentence, width, "  ")
    text += work
    for total in shown if kernels else ():
        text += render_kernels(kernels_title(total.name, width), total.kernels, kernels, width)
    return "\n".join(text) + "\n"


def render_devices(totals: Sequence[DeviceTotal], title: str, notes: Sequence[str], *, top: int, width: int) -> str:
    """Render one line per device, and the kernels of each device.

    Args:
        totals: Totals by device.
        title: First line.
        notes: Sentences below the table.
        top: Maximum number of kernels to show per device.
        width: Maximum number of characters of a line.
    """
    lines = fitted([_DEVICES, *map(_device_row, totals)], width)
    rule = "=" * max(map(len, lines))
    text = [*filled(title, width), rule, *lines, rule]
    for sentence in ("Times in ms. Span: first start to last end.", *notes):
        text += filled(sentence, width, "  ")
    for total in totals:
        text += render_kernels(f"Top kernels of device {total.device} (ms)", total.kernels, top, width)
    return "\n".join(text) + "\n"


def kernels_title(name: str, width: int) -> str:
    """Return the title of a list of kernels, in one line.

    Args:
        name: Name of the ranges.
        width: Maximum number of characters.
    """
    return f"Top kernels of {_name(name, width - len('Top kernels of  (ms)'))} (ms)"


def _range_row(total: RangeTotal, max_name: int) -> tuple[str, ...]:
    on_gpu = bool(total.ranges_on_gpu)
    return (
        _name(total.domain, max_name // 2),
        _name(total.name, max_name),
        f"{total.ranges:,}",
        f"{total.ranges_on_gpu:,}",
        f"{total.operations:,}",
        milliseconds(total.total_ns if on_gpu else None),
        milliseconds(total.busy_ns if on_gpu else None),
        milliseconds(total.idle_ns if on_gpu else None),
        milliseconds(total.median_span_ns),
        milliseconds(total.median_launch_delay_ns),
    )


def _name(text: str, limit: int) -> str:
    return shortened(words(text, _MAX_TEXT), limit)


def _device_row(total: DeviceTotal) -> tuple[str, ...]:
    times = (total.total_ns, total.kernel_ns, total.busy_ns, total.span_ns)
    return (str(total.device), f"{total.operations:,}", *map(milliseconds, times))
