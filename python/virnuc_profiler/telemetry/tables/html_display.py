# SPDX-License-Identifier: MIT
"""How a notebook shows a run: a small table that follows its light or dark theme. All text is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Final

from virnuc_profiler.telemetry.number_text import counted, number
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.tables.shown_run import ShownRun
from virnuc_profiler.telemetry.values import printable

_STYLE: Final = (
    "color:inherit;background:transparent;border-collapse:collapse;font-size:0.95em;font-variant-numeric:tabular-nums"
)
_CELL: Final = "border-bottom:1px solid rgba(128,128,128,0.35);padding:0.2em 0.9em 0.2em 0;text-align:left"
"""Colors of the notebook, and a gray that both themes show: a style sheet would apply to the whole page."""

_MAX_TEXT: Final = 300


def html_table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a title and a table of two columns as HTML that fits any page.

    Args:
        title: Title of the table, of unknown origin.
        rows: Label and value of each row, of unknown origin.
    """
    lines = "".join(
        f'<tr><th scope="row" style="{_CELL};font-weight:600">{_text(label)}</th>'
        f'<td style="{_CELL}">{_text(value)}</td></tr>'
        for label, value in rows
    )
    caption = f'<caption style="caption-side:top;text-align:left;font-weight:700">{_text(title)}</caption>'
    return f'<table style="{_STYLE}">{caption}<tbody>{lines}</tbody></table>'


def run_html(run: ShownRun) -> str:
    """Return what a notebook shows of a run.

    Args:
        run: The run.
    """
    return html_table(f"Run {run.run_id}", run_rows(run))


def run_rows(run: ShownRun) -> Iterable[tuple[str, str]]:
    """Yield label and value of what a notebook shows of a run.

    Args:
        run: The run.
    """
    yield "started", run.started_at
    yield "elapsed", number(run.elapsed_s, 3, " s")
    yield "batches", f"{len(run.batches):,}"
    for label, total in (("sequences", run.total_sequences), ("tokens", run.total_tokens)):
        rate = number(ratio(total, run.elapsed_s), 1)
        yield label, "n/a" if total is None else f"{total:,} ({rate}/s over the whole run)"
    yield "device", run.device.name
    yield "device times", _device_times(run)
    gpu = run.gpu
    sampled = f"not sampled: {run.device.sampling_reason}" if run.device.sampling_reason else "not sampled"
    yield "GPU readings", sampled if gpu is None else counted(len(gpu.fast) + len(gpu.gpm), "reading")
    for key in ("status", "model_name", "precision"):
        if isinstance(value := run.metadata.get(key), str):
            yield key.replace("_", " "), value
    if isinstance(configuration := run.metadata.get("config"), Mapping):
        yield "configuration", ", ".join(f"{name} = {json.dumps(value)}" for name, value in configuration.items())


def _device_times(run: ShownRun) -> str:
    if not run.device.timed:
        return f"not measured: {run.device.reason}" if run.device.reason else "not measured"
    dropped = run.device.dropped_batches
    return "measured" + (f", except in {counted(dropped, 'batch', 'batches')}" if dropped else "")


def _text(value: str) -> str:
    return escape(printable(value, _MAX_TEXT))
