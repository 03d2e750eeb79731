# SPDX-License-Identifier: MIT
"""The kernels of a run's captured batches, as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from virnuc_profiler.reports.columns import aligned, shortened
from virnuc_profiler.reports.figures import counted, number, share, words
from virnuc_profiler.telemetry.parts.kernel_records import KernelActivity, StageActivity
from virnuc_profiler.telemetry.rates import ratio

_STAGE_HEADINGS: Final = ("Stage", "Launches", "Operations", "GPU ms", "Busy ms", "Interval ms", "Idle inside")
_KERNEL_HEADINGS: Final = ("Stage", "Kernel or copy", "Count", "GPU ms", "Mean us", "Share")
_UNSTAGED: Final = "(no stage)"
_NAME_WIDTH: Final = 60
_MIN_NAME_WIDTH: Final = 20
_SMALL_ERROR_NS: Final = 20_000
"""Error of launch times that needs no note: a launch takes the host some microseconds itself."""
TOP_KERNELS: Final = 5
"""Number of kernels that are shown for each stage."""


def render_kernels(kernels: KernelActivity, width: int | None = None) -> str:
    """Render the busy share, the gaps, the launches, and the kernels of each stage.

    Times by stage are per batch, and those of kernels of all captured batches. Shares of kernels are of the summed
    device time of all stages.

    Args:
        kernels: Device work of the captured batches.
        width: Maximum number of characters of a line of a table, as far as names can be cut; None for no limit.
    """
    stages = aligned([_STAGE_HEADINGS, *(_stage_row(stage, kernels.batches) for stage in kernels.stages)])
    rows = [_KERNEL_HEADINGS, *_kernel_rows(kernels)]
    top = aligned(rows, left=2)
    if width is not None and (over := max(map(len, top)) - width) > 0:
        limit = max(_MIN_NAME_WIDTH, max(len(row[1]) for row in rows) - over)
        top = aligned([(stage, shortened(name, limit), *figures) for stage, name, *figures in rows], left=2)
    rule = "=" * max(map(len, (*stages, *top)))
    return "\n".join(
        [
            "Kernels (CUPTI)",
            rule,
            *kernel_figures(kernels),
            "",
            "By stage, per batch:",
            *stages,
            "",
            "Largest, all batches:",
            *top,
            rule,
        ]
    )


def kernel_sentence(kernels: KernelActivity) -> str:
    """Return the busy share of the device in one sentence, at the loop's own pace if that is known.

    Args:
        kernels: Device work of the captured batches.
    """
    at_pace = kernels.busy_share_at_own_pace
    pace = "" if at_pace is None else f"{share(at_pace)} at its own pace, "
    return (
        f"{pace}{share(kernels.busy_share)} while CUPTI recorded {counted(kernels.batches, 'batch', 'batches')}"
        f"{_slowdown(kernels)}"
    )


def _slowdown(kernels: KernelActivity) -> str:
    return "" if kernels.slowdown is None else f", which took {kernels.slowdown:.2f} times as long"


def kernel_figures(kernels: KernelActivity) -> Iterator[str]:
    """Yield sentences on the captured batches as a whole: their window, busy shares, launches, and the capture's cost.

    Args:
        kernels: Device work of the captured batches.
    """
    batches, window_ns = kernels.batches, kernels.window_ns
    last = kernels.first_batch + batches - 1
    yield (
        f"Window: {counted(batches, 'batch', 'batches')} ({kernels.first_batch:,} to {last:,}), "
        f"{window_ns / 1e9:,.3f} s, from the completion of the batch before them to that of the last"
    )
    yield f"GPU busy while recorded: {share(kernels.busy_share)}"
    if kernels.busy_share_at_own_pace is not None:
        yield f"GPU busy at the loop's own pace: {share(kernels.busy_share_at_own_pace)} (same work, without CUPTI)"
    elif kernels.exceeds_reference:
        yield "GPU busy at the loop's own pace: not known, the GPU worked longer than the batches take without CUPTI"
    if kernels.idle_in_stages_ns is not None and kernels.idle_between_ns is not None:
        inside, between = (share(ratio(ns, window_ns)) for ns in (kernels.idle_in_stages_ns, kernels.idle_between_ns))
        yield f"Idle while recorded: {inside} inside device stages, {between} between them"
    yield f"Launches: {_each(kernels.launches, batches)} a batch, of {_each(kernels.operations, batches)} operations"
    if kernels.slowdown is None:
        yield "Overhead of the capture: not known, because no undisturbed batches were run without it"
    else:
        yield f"Overhead of the capture: the batches took {kernels.slowdown:.2f} times as long as without it"
    if kernels.clock_error_ns is None:
        yield "Stages by the time of day, which may be off: the calls that compare the clocks are not in the trace"
    elif kernels.clock_error_ns > _SMALL_ERROR_NS:
        off = number(kernels.clock_error_ns / 1e6, 3, " ms")
        yield f"Launches may be off by {off}: kernels may be given to a neighbor of their stage, or to no stage"


def _stage_row(stage: StageActivity, batches: int) -> tuple[str, ...]:
    return (
        _UNSTAGED if stage.stage is None else words(stage.stage),
        _each(stage.launches, batches),
        _each(stage.operations, batches),
        *(_milliseconds(ns, batches) for ns in (stage.total_ns, stage.busy_ns, stage.interval_ns)),
        share(None if stage.idle_ns is None else ratio(stage.idle_ns, stage.interval_ns)),
    )


def _kernel_rows(kernels: KernelActivity) -> Iterator[tuple[str, ...]]:
    all_ns = sum(stage.total_ns for stage in kernels.stages)
    for stage in kernels.stages:
        for total in [one for one in kernels.kernels if one.stage == stage.stage][:TOP_KERNELS]:
            yield (
                _UNSTAGED if total.stage is None else words(total.stage),
                shortened(words(total.name), _NAME_WIDTH),
                f"{total.count:,}",
                number(total.total_ns / 1e6, 3),
                number(total.total_ns / 1e3 / total.count if total.count else None, 1),
                share(ratio(total.total_ns, all_ns)),
            )


def _each(count: int, batches: int) -> str:
    return number(count / batches if batches else None, 1)


def _milliseconds(ns: int | None, batches: int) -> str:
    return number(None if ns is None or not batches else ns / 1e6 / batches, 3)
