# SPDX-License-Identifier: MIT
"""GPU time of a capture by NVTX range and by device, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from virnuc_profiler.analysis.nsys.totals import DeviceTotal, RangeTotal
from virnuc_profiler.reports.columns import aligned
from virnuc_profiler.reports.correlation_table import MAX_NAME, milliseconds, render_kernels
from virnuc_profiler.reports.figures import words

_RANGES: Final = (
    "Domain", "Range", "Ranges", "On GPU", "Operations", "GPU sum", "GPU busy", "Idle", "Span p50", "Launch delay p50",
)  # fmt: skip
_DEVICES: Final = ("Device", "Operations", "GPU sum", "Kernels", "GPU busy", "Span")


def render_ranges(totals: Sequence[RangeTotal], title: str, notes: Sequence[str], *, top: int, kernels: bool) -> str:
    """Render one line per range name, the most GPU time first.

    Args:
        totals: Totals by range name.
        title: First line.
        notes: Lines below the table.
        top: Maximum number of names, and of kernels per name, to show.
        kernels: Whether to add the kernels of each name.
    """
    lines = aligned([_RANGES, *map(_range_row, totals[:top])], left=2)
    rule = "=" * max(map(len, lines))
    text = [title, rule, *lines, rule]
    if len(totals) > top:
        text.append(f"and {len(totals) - top:,} more names; --range NAME selects some, --top N shows more")
    text += [
        "Times in ms. Sum and busy: overlaps counted separately or once. Idle: within the spans.",
        *notes,
    ]
    if kernels:
        for total in totals[:top]:
            text += render_kernels(f"Top kernels of {words(total.name)} (ms)", total.kernels, top)
    return "\n".join(text) + "\n"


def render_devices(totals: Sequence[DeviceTotal], title: str, notes: Sequence[str], *, top: int) -> str:
    """Render one line per device, and the kernels of each device.

    Args:
        totals: Totals by device.
        title: First line.
        notes: Lines below the table.
        top: Maximum number of kernels to show per device.
    """
    lines = aligned([_DEVICES, *map(_device_row, totals)])
    rule = "=" * max(map(len, lines))
    text = [title, rule, *lines, rule, "Times in ms. Span: first start to last end.", *notes]
    for total in totals:
        text += render_kernels(f"Top kernels of device {total.device} (ms)", total.kernels, top)
    return "\n".join(text) + "\n"


def _range_row(total: RangeTotal) -> tuple[str, ...]:
    on_gpu = bool(total.ranges_on_gpu)
    return (
        words(total.domain, MAX_NAME),
        words(total.name, MAX_NAME),
        f"{total.ranges:,}",
        f"{total.ranges_on_gpu:,}",
        f"{total.operations:,}",
        milliseconds(total.total_ns if on_gpu else None),
        milliseconds(total.busy_ns if on_gpu else None),
        milliseconds(total.idle_ns if on_gpu else None),
        milliseconds(total.median_span_ns),
        milliseconds(total.median_launch_delay_ns),
    )


def _device_row(total: DeviceTotal) -> tuple[str, ...]:
    times = (total.total_ns, total.kernel_ns, total.busy_ns, total.span_ns)
    return (str(total.device), f"{total.operations:,}", *map(milliseconds, times))
