# SPDX-License-Identifier: MIT
"""The section at the end of a session: one line for each profiled test, and what was not compared."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from virnuc_profiler.pytest_plugin.plugin_session import NO_BASELINE, NOT_COMPARED
from virnuc_profiler.reports.columns import aligned, filled, shortened
from virnuc_profiler.telemetry.number_text import counted
from virnuc_profiler.telemetry.values import printable

WIDTH: Final = 80
_SHOWN: Final = 3


def summary_lines(
    tests: Sequence[tuple[str, Mapping[str, Any]]], *, save: str | None, compare: str | None, processes: int
) -> list[str]:
    """Return the lines of the section, at most 80 columns wide.

    Args:
        tests: Id of each test and the properties of its report; tests that were not profiled have none of ours.
        save: Folder that runs were stored in.
        compare: What they were compared with.
        processes: Number of processes that ran tests at the same time.
    """
    profiled = [(test, properties) for test, properties in tests if "virnuc_rounds" in properties]
    rows = [_row(test, properties) for test, properties in profiled]
    lines = _table(rows, with_verdict=compare is not None)
    found = [(test, properties.get("virnuc_verdict", "")) for test, properties in profiled]
    for state, said in ((NO_BASELINE, f"have no run in {printable(compare or '')}"), (NOT_COMPARED, NOT_COMPARED)):
        names = [test for test, verdict in found if verdict == state]
        if names:
            shown = ", ".join(shortened(printable(name, 4096), 60) for name in names[:_SHOWN])
            more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
            lines += filled(f"{counted(len(names), 'test')} {_verb(said, len(names))}: {shown}{more}", WIDTH, "  ")
    if save is not None:
        stored = sum("virnuc_run" in properties for _, properties in profiled)
        lines += filled(f"Stored: {counted(stored, 'run')} in {printable(save)}", WIDTH, "  ")
    if processes > 1:
        lines += filled(
            f"{counted(processes, 'process', 'processes')} ran tests at the same time, so these rates say little; "
            "run benchmark tests with -n 0",
            WIDTH, "  ",
        )  # fmt: skip
    return lines


def _row(test: str, properties: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return (
        test,
        f"{properties['virnuc_rounds']:,}",
        properties.get("virnuc_rate", ""),
        properties.get("virnuc_verdict", ""),
    )


def _table(rows: Sequence[tuple[str, str, str, str]], *, with_verdict: bool) -> list[str]:
    """Return name, rounds and rate of each test in one line, and its verdict below it."""
    figures = [("Rounds", "Rate"), *((rounds, rate) for _, rounds, rate, _ in rows)]
    limit = WIDTH - sum(max(map(len, column)) + len(" | ") for column in zip(*figures, strict=True))
    names = ["Test", *(shortened(printable(row[0], 4096), max(10, limit)) for row in rows)]
    lines = aligned([(name, *cells) for name, cells in zip(names, figures, strict=True)])
    found = lines[:1]
    for line, (_, _, _, verdict) in zip(lines[1:], rows, strict=True):
        found.append(line)
        if with_verdict and verdict:
            found += [f"  {part}" for part in textwrap.wrap(printable(verdict, 500), WIDTH - 2)]
    return found


def _verb(said: str, count: int) -> str:
    if said == NOT_COMPARED:
        return f"{'was' if count == 1 else 'were'} {said}"
    return said.replace("have", "has", 1) if count == 1 else said
