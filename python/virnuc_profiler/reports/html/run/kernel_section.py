# SPDX-License-Identifier: MIT
"""Kernels in the page of a run: what the device really did in the captured batches."""

from __future__ import annotations

from virnuc_profiler.reports.figures import number, share
from virnuc_profiler.reports.html.html_table import Cell, Column, Row, bullet_list, html_table
from virnuc_profiler.reports.html.page import Section
from virnuc_profiler.reports.kernel_table import kernel_figures
from virnuc_profiler.telemetry.parts.kernel_records import KernelActivity, KernelTotal, StageActivity
from virnuc_profiler.telemetry.rates import ratio

_UNSTAGED = "(no stage)"


def kernel_section(kernels: KernelActivity) -> Section:
    """Return the section on the kernels of a run.

    Args:
        kernels: Device work of the captured batches.
    """
    numbers = ("Launches", "Operations", "GPU, ms", "Busy, ms", "In the stage, ms")
    stages = html_table(
        ["Stage", *(Column(name, numeric=True, first="descending") for name in numbers),
         Column("Idle inside", numeric=True, first="descending")],
        [_stage_row(stage, kernels.batches) for stage in kernels.stages],
        caption="Work by stage, per batch",
    )  # fmt: skip
    all_ns = sum(stage.total_ns for stage in kernels.stages)
    names = ("Count", "GPU, ms", "Mean, µs", "Share")
    table = html_table(
        ["Kernel or copy", "Stage", *(Column(name, numeric=True, first="descending") for name in names)],
        [_kernel_row(total, all_ns) for total in sorted(kernels.kernels, key=lambda one: -one.total_ns)],
        caption="Kernels and copies of all captured batches",
    )
    note = "Some batches were run again while CUPTI recorded the device's work. Shares are of the summed GPU time."
    return Section("kernels", "Kernels", [bullet_list(kernel_figures(kernels)), stages, table], note=note)


def _stage_row(stage: StageActivity, batches: int) -> Row:
    each = max(batches, 1)
    idle = None if stage.idle_ns is None else ratio(stage.idle_ns, stage.interval_ns)
    times = [None if ns is None else ns / 1e6 / each for ns in (stage.total_ns, stage.busy_ns, stage.interval_ns)]
    return Row(
        [
            _UNSTAGED if stage.stage is None else stage.stage,
            *(Cell(number(count / each, 1), count) for count in (stage.launches, stage.operations)),
            *(Cell(number(value, 3), value) for value in times), Cell(share(idle), idle),
        ]
    )  # fmt: skip


def _kernel_row(total: KernelTotal, all_ns: int) -> Row:
    mean_us = total.total_ns / 1e3 / total.count if total.count else None
    return Row(
        [
            total.name, _UNSTAGED if total.stage is None else total.stage, Cell(f"{total.count:,}", total.count),
            Cell(number(total.total_ns / 1e6, 3), total.total_ns), Cell(number(mean_us, 1), mean_us),
            Cell(share(ratio(total.total_ns, all_ns)), total.total_ns),
        ]
    )  # fmt: skip
