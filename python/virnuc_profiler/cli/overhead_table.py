# SPDX-License-Identifier: MIT
"""The cost of profiling on this machine, as text."""

from __future__ import annotations

from typing import Final

from virnuc_profiler.capture.overhead import CALLS_PER_BATCH, Overhead
from virnuc_profiler.cli.wrapping import terminal_columns, wrapped
from virnuc_profiler.reports.figures import NOT_MEASURED

_EXAMPLE_BATCH_MS: Final = 10.0


def render_overhead(overhead: Overhead) -> str:
    """Return a line for each cost, and their sum in a batch of a usual size."""
    batch_ns = overhead.host_ns_per_batch
    sampling = overhead.sampling_cpu
    lines = {
        "A mark (ends a stage, starts the next)": _ns(overhead.mark_ns),
        "  without NVTX": _ns(overhead.mark_without_nvtx_ns),
        "  without device events": _ns(overhead.mark_without_device_ns),
        "A stage as a context manager": _ns(overhead.scope_ns),
        "Beginning and ending a batch": _ns(overhead.batch_ns),
        f"A batch of the runner ({CALLS_PER_BATCH} marks)": (
            f"{_ns(batch_ns)}, {batch_ns / 1e4 / _EXAMPLE_BATCH_MS:.3f}% of a batch of {_EXAMPLE_BATCH_MS:g} ms"
        ),
        "Sampling threads at default rates": (
            f"{NOT_MEASURED} ({overhead.sampling_reason})" if sampling is None else f"{sampling:.2%} of one core"
        ),
    }
    width = max(map(len, lines))
    title = f"Host time that profiling costs on {overhead.device}"
    columns = terminal_columns()
    rows = [row for name, value in lines.items() for row in wrapped(f"{name:<{width}}  ", value, columns)]
    return "\n".join([title, "=" * len(title), *rows])


def _ns(value: float) -> str:
    return f"{value:,.0f} ns"
