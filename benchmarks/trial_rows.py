# SPDX-License-Identifier: MIT
"""Tables of trials: a CSV file with one row for each trial, and a comment that says what was measured on which machine.

The comment in the first line is ``# `` and one JSON object. A table can be continued after its writer was ended.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Row:
    """One trial of the table.

    Attributes:
        block: Number of the block, from 0.
        place: Number of the trial in its block, from 0.
        num_workers: DataLoader processes.
        prefetch_factor: Chunks that each worker keeps ready.
        token_budget: Most tokens of a packed batch.
        buffer_size: Sequences that are collected before they are packed.
        tokens_per_sec: Tokens per second after warm-up; empty if the trial failed or is too short to tell.
        tokens_per_sec_low: Lower end of the 95 % interval of that rate.
        tokens_per_sec_high: Upper end of the 95 % interval of that rate.
        start_up_sec: Seconds until the first batch was complete.
        measured_sec: Seconds after start-up that the trial lasted.
        peak_memory_gb: Peak device memory in GB of 10⁹ bytes.
        outcome: ``ok``, or what happened.
    """

    block: int
    place: int
    num_workers: int
    prefetch_factor: int
    token_budget: int
    buffer_size: int
    tokens_per_sec: float | None
    tokens_per_sec_low: float | None
    tokens_per_sec_high: float | None
    start_up_sec: float | None
    measured_sec: float | None
    peak_memory_gb: float | None
    outcome: str


COLUMNS: Final = tuple(each.name for each in fields(Row))
KNOBS: Final = ("num_workers", "prefetch_factor", "token_budget", "buffer_size")


def begin(table: Path, about: Mapping[str, Any]) -> None:
    """Write the first lines of a table: what is measured, and the names of the columns."""
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text(f"# {json.dumps(about)}\n{','.join(COLUMNS)}\n", encoding="utf-8")


def append(table: Path, row: Row) -> None:
    """Add a row to a table."""
    with table.open("a", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(
            {name: _cell(value) for name, value in asdict(row).items()}
        )


def read_rows(table: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Return what a table says of its trials, and its rows."""
    with table.open(newline="", encoding="utf-8") as file:
        comment = next(file, "").removeprefix("#")
        return json.loads(comment), list(csv.DictReader(file))


def rows_of(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table; none if it does not exist."""
    return read_rows(table)[1] if table.exists() else []


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
