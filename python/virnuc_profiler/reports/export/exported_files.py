# SPDX-License-Identifier: MIT
"""Writes runs as a trace and as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from virnuc_profiler.analysis.summary.rank_scaling import rank_name
from virnuc_profiler.reports.export.binary_files import write_pieces
from virnuc_profiler.reports.export.clock_alignment import align_clocks
from virnuc_profiler.reports.export.csv_tables import csv_pieces
from virnuc_profiler.reports.export.parquet_tables import write_parquet
from virnuc_profiler.reports.export.perfetto_trace import perfetto_trace
from virnuc_profiler.reports.export.run_tracks import run_facts, trace_process
from virnuc_profiler.telemetry.files import write_text_atomically
from virnuc_profiler.telemetry.number_text import counted
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.tables.run_tables import TABLES, Table, TableColumn, run_table


def write_trace(path: Path, runs: Sequence[RunResult], *, partial: bool = False) -> str:
    """Write runs as one trace in Perfetto's format, compressed if its name ends in ``.gz``.

    Args:
        path: File to write.
        runs: Runs, one for each rank; the clock of the first one is that of the trace.
        partial: Whether the runs are parts, before and after which the device worked on other batches.

    Returns:
        What is in the file, in words.

    Raises:
        OutputError: The file cannot be written.
    """
    alignment = align_clocks(runs)
    processes = [
        trace_process(run, process_name(run, number, len(runs)), rank=number, later_ns=later_ns, partial=partial)
        for number, (run, later_ns) in enumerate(zip(runs, alignment.later_ns, strict=True))
    ]
    write_pieces(path, perfetto_trace(processes, wall_offset_ns=alignment.wall_offset_ns))
    batches = counted(sum(len(run.batches) for run in runs), "batch", "batches")
    clocks = f"; {alignment.statement}" if len(runs) > 1 else ""
    return f"{counted(len(runs), 'run')}, {batches}{clocks}"


def process_name(run: RunResult, number: int, runs: int) -> str:
    """Return the name of a run in a trace: its id, and its rank if there are several.

    Args:
        run: The run.
        number: Position of the run.
        runs: Number of runs.
    """
    if runs == 1:
        return run.run_id
    return f"rank {rank_name({'run_metadata': run.metadata}) or number}: {run.run_id}"


def write_csv_tables(folder: Path, runs: Sequence[RunResult]) -> Iterator[tuple[Path, str]]:
    """Write the three tables of some runs as CSV, and yield each path with the number of its rows.

    Args:
        folder: Folder of the files.
        runs: Runs, one below the other.

    Raises:
        OutputError: A file cannot be written.
    """
    for name in TABLES:
        tables = _tables(runs, name)
        pieces = (piece for number, table in enumerate(tables) for piece in csv_pieces(table, header=number == 0))
        yield write_text_atomically(folder / f"{name}.csv", pieces), _rows(tables)


def write_parquet_tables(folder: Path, runs: Sequence[RunResult]) -> Iterator[tuple[Path, str]]:
    """Write the three tables of some runs as Parquet, and yield each path with the number of its rows.

    Args:
        folder: Folder of the files.
        runs: Runs, one below the other.

    Raises:
        LibraryUnavailable: pyarrow cannot be imported; the message says how to install it.
        OutputError: A file cannot be written.
    """
    facts = run_facts(runs[0]) if len(runs) == 1 else {"runs": f"{len(runs)}"}
    for name in TABLES:
        tables = _tables(runs, name)
        yield write_parquet(folder / f"{name}.parquet", tables, facts), _rows(tables)


def _tables(runs: Sequence[RunResult], name: str) -> list[Table]:
    """Return a table of each run, with the position of the run as its rank."""
    tables: list[Table] = []
    for rank, run in enumerate(runs):
        table = run_table(run, name)
        rows = len(next(iter(table.values())).values)
        tables.append({"rank": TableColumn(np.full(rows, rank)), **table})
    return tables


def _rows(tables: Sequence[Table]) -> str:
    return counted(sum(len(next(iter(table.values())).values) for table in tables), "row")
