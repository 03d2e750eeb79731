# SPDX-License-Identifier: MIT
"""GPU time of a capture by operator, as text: every nanosecond of it is in exactly one line, as self time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from virnuc_profiler.analysis.nsys.operator_totals import OperatorTotal, OperatorTotals, SelfTimes, divide_self_time
from virnuc_profiler.reports.captures.correlation_table import render_kernels
from virnuc_profiler.reports.captures.range_table import kernels_title
from virnuc_profiler.reports.columns import filled, fitted, shortened
from virnuc_profiler.reports.figures import counted, milliseconds, share, words

_OPERATORS: Final = ("Ranges", "Operations", "GPU self", "Self share", "GPU total")
_LEGEND: Final = (
    "Times in ms. Self: launched in ranges of the operator and in no range inside them; these times add up to all GPU "
    "time. Total: launched in its ranges and in those inside them, each operation once, also where the operator is "
    "inside itself; totals of different operators overlap."
)
_MAX_TEXT: Final = 4096
"""Characters of a name that are looked at."""
_MAX_DOMAIN: Final = 14
_MIN_NAME: Final = 20
_MAX_DEVICES: Final = 16


def render_operators(
    totals: OperatorTotals,
    title: str,
    notes: Sequence[str],
    work: Sequence[str],
    *,
    top: int,
    width: int,
    kernels: int,
) -> str:
    """Render one line per operator, in their order, then the rest of the GPU time, and the shares of each device.

    Args:
        totals: Totals by operator.
        title: First line.
        notes: Sentences below the table.
        work: Table of what the ranges explain of the GPU work of the capture.
        top: Maximum number of operators to show.
        width: Maximum number of characters of a line; names are cut.
        kernels: Maximum number of kernels to show per operator; 0 for no kernels.
    """
    shown, times = totals.largest(top), divide_self_time(totals, top)
    domains = totals.domains
    only = domains[0] if len(domains) == 1 else None
    lines = _table(totals, shown, times, only, width)
    rule = "=" * max(map(len, lines))
    text = [*filled(title if only is None else f"{title}; domain {words(only, 40)}", width), rule, *lines, rule]
    if len(totals) > len(shown):
        hidden = share(_part(times.more_operators.sum(), times))
        text += filled(
            f"Not shown: {counted(len(totals) - len(shown), 'operator')} with {hidden} of all GPU time; "
            "--top N shows more, --range NAME selects some, --no-group shows single ranges",
            width, "  ",
        )  # fmt: skip
    for sentence in (_LEGEND, *notes):
        text += filled(sentence, width, "  ")
    text += work
    if len(times.devices) > 1:
        text += _device_table(shown, times, width)
    for at, total in enumerate(shown if kernels else ()):
        text += render_kernels(kernels_title(total.name, width), totals.kernels(at), kernels, width)
    return "\n".join(text) + "\n"


def _table(
    totals: OperatorTotals, shown: Sequence[OperatorTotal], times: SelfTimes, only: str | None, width: int
) -> list[str]:
    rest = _rest(totals, shown, times)
    figures = [_OPERATORS, *(_figures(total, times) for total in shown)]
    figures += [("", "", milliseconds(ns), share(_part(ns, times)), "") for _, ns in rest]
    columns = [["Operator", *(total.name for total in shown), *(name for name, _ in rest)]]
    if only is None:
        columns.insert(0, ["Domain", *(_name(total.domain, _MAX_DOMAIN) for total in shown), *[""] * len(rest)])
    others = [*columns[:-1], *zip(*figures, strict=True)]
    limit = max(_MIN_NAME, width - sum(max(map(len, column)) + len(" | ") for column in others))
    columns[-1] = [_name(name, limit) for name in columns[-1]]
    rows = [(*names, *row) for *names, row in zip(*columns, figures, strict=True)]
    return fitted(rows, width, left=len(columns))


def _figures(total: OperatorTotal, times: SelfTimes) -> tuple[str, ...]:
    own = milliseconds(total.self_ns), share(_part(total.self_ns, times))
    return f"{total.ranges:,}", f"{total.operations:,}", *own, milliseconds(total.total_ns)


def _rest(totals: OperatorTotals, shown: Sequence[OperatorTotal], times: SelfTimes) -> list[tuple[str, int]]:
    """Return what is in no line of an operator, with its GPU time."""
    more, other = int(times.more_operators.sum()), int(times.other_ranges.sum())
    rest = [(counted(len(totals) - len(shown), "more operator"), more)] if len(totals) > len(shown) else []
    rest += [("(other ranges)", other)] if other else []
    return [*rest, ("(in no range)", int(times.no_range.sum())), ("(all GPU time)", int(times.all.sum()))]


def _device_table(shown: Sequence[OperatorTotal], times: SelfTimes, width: int) -> list[str]:
    """Return the share of each device's GPU time by operator, and that time."""
    devices = times.devices[:_MAX_DEVICES]
    everything = times.all
    parts = [*times.operators, times.more_operators, times.other_ranges, times.no_range]
    names = [*(total.name for total in shown), "more operators", "(other ranges)", "(in no range)"]
    limit = max(_MIN_NAME, width - sum(len(f" | Device {device}") + 2 for device in devices[:3]))
    rows = [("GPU self by device", *(f"Device {device}" for device in devices))]
    for name, part in zip(names, parts, strict=True):
        if name in ("more operators", "(other ranges)") and not part.any():
            continue
        cells = (share(part[at] / everything[at] if everything[at] else None) for at in range(len(devices)))
        rows.append((_name(name, limit), *cells))
    rows.append(("(all GPU time, ms)", *(milliseconds(int(everything[at])) for at in range(len(devices)))))
    more = [f"  and {len(times.devices) - len(devices):,} more devices"] if len(times.devices) > len(devices) else []
    return ["", *fitted(rows, width), *more]


def _part(nanoseconds: int, times: SelfTimes) -> float | None:
    everything = int(times.all.sum())
    return nanoseconds / everything if everything else None


def _name(text: str, limit: int) -> str:
    return shortened(words(text, _MAX_TEXT), limit)
