# SPDX-License-Identifier: MIT
"""A diagnosis as text: the verdict, its evidence, and the idle time of the device."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Final

from virnuc_profiler.analysis.diagnosis.bottlenecks import LABELS
from virnuc_profiler.analysis.diagnosis.diagnose import Diagnosis, diagnose_run
from virnuc_profiler.reports.figures import share
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.values import printable

_RULE: Final = "=" * 70
_HEADINGS: Final = ("Outside device stages", "Gaps", "Total ms", "Share")


def render_diagnosis(run: RunResult | Diagnosis) -> str:
    """Render the diagnosis of a run: verdict, other causes of lost time, evidence, and device gaps.

    Args:
        run: Run to diagnose, with the model's shape and the device's ceiling from its metadata; or a diagnosis that
            was made with :func:`diagnose_run`.
    """
    diagnosis = diagnose_run(run) if isinstance(run, RunResult) else run
    lines = ["Diagnosis", _RULE]
    for sentence in (diagnosis.sentence, *diagnosis.further):
        lines += wrap(sentence, len(_RULE), break_on_hyphens=False)
    lines.append("")
    width = max((len(line.statement) for line in diagnosis.evidence), default=0)
    lines += [f"  {line.statement + ':':<{width + 1}} {printable(line.figure)}" for line in diagnosis.evidence]
    if diagnosis.gaps:
        lines += ["", *_gap_table(diagnosis)]
    return "\n".join([*lines, _RULE])


def _gap_table(diagnosis: Diagnosis) -> Iterator[str]:
    rows = [_HEADINGS]
    for line in diagnosis.gaps:
        part = share(ratio(line.total_ns, diagnosis.window_ns))
        rows.append((LABELS[line.cause], f"{line.gaps:,}", f"{line.total_ns / 1e6:,.2f}", part))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *figures in rows:
        cells = [name.ljust(widths[0]), *(figure.rjust(size) for figure, size in zip(figures, widths[1:], strict=True))]
        yield "  " + " | ".join(cells)
