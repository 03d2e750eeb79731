# SPDX-License-Identifier: MIT
"""What the pages of captures share: tables of kernels and of GPU work, and facts about the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from virnuc_profiler.analysis.nsys.gpu_work import GpuWork
from virnuc_profiler.analysis.nsys.totals import KernelTotal
from virnuc_profiler.reports.captures.gpu_work_table import WORK_COLUMNS, work_rows
from virnuc_profiler.reports.columns import shortened
from virnuc_profiler.reports.figures import milliseconds, share, words
from virnuc_profiler.reports.html.html_table import Cell, Column, html_table

Cells = list[str | Markup | Cell]
"""Cells of a row."""

_KERNELS: Final = 5


def short_name(name: str) -> str:
    """Return a name of unknown origin, cut in its middle.

    Args:
        name: Name of a range or kernel.
    """
    return shortened(words(name, 4096), 160)


def numeric(*names: str) -> list[Column | str]:
    """Return columns of numbers.

    Args:
        names: Headings.
    """
    return [Column(name, numeric=True, first="descending") for name in names]


def kernel_table(caption: str, kernels: Sequence[KernelTotal]) -> Markup | None:
    """Return the kernels with the most GPU time; None without GPU time.

    Args:
        caption: What the kernels belong to.
        kernels: Totals by kernel, the longest first.
    """
    total_ns = sum(kernel.total_ns for kernel in kernels)
    if not total_ns:
        return None
    columns: list[Column | str] = [
        "Kernel",
        *(Column(name, numeric=True, first="descending") for name in ("Times", "Sum (ms)", "Share")),
    ]
    rows: list[Cells] = [
        [
            short_name(kernel.name), Cell(f"{kernel.operations:,}", kernel.operations),
            Cell(milliseconds(kernel.total_ns), kernel.total_ns),
            Cell(share(kernel.total_ns / total_ns), kernel.total_ns),
        ]
        for kernel in kernels[:_KERNELS]
    ]  # fmt: skip
    more = f"; {len(kernels) - _KERNELS:,} more are not shown" if len(kernels) > _KERNELS else ""
    return html_table(columns, rows, caption=caption + more)


def work_table(work: GpuWork) -> Markup:
    """Return the GPU work of a capture, divided by what its ranges explain of it.

    Args:
        work: The GPU work.
    """
    columns = [WORK_COLUMNS[0], *numeric(*WORK_COLUMNS[1:])]
    rows: list[Cells] = [[name, *(Cell(text) for text in cells)] for name, *cells in work_rows(work)]
    return html_table(columns, rows, caption="All GPU work of the capture, ms", sortable=False)


def capture_facts(capture: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values of what is known of a capture.

    Args:
        capture: Its description.
    """
    return [
        ("File", str(capture["path"])),
        ("Nsight Systems", capture["nsys_version"] or "version not known"),
        ("Ranges", f"{capture['ranges']:,}"),
        ("GPU operations", f"{capture['operations']:,}"),
    ]
