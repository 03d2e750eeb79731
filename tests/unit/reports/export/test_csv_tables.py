# SPDX-License-Identifier: MIT
"""CSV that spreadsheets read and do not compute."""

import csv
import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.run_records import batch, run_of, stage
from virnuc_profiler.reports.export.csv_tables import csv_pieces, safe_cell
from virnuc_profiler.telemetry.tables.run_tables import TABLES, run_table


def rows_of(run, name):
    return list(csv.DictReader(io.StringIO("".join(csv_pieces(run_table(run, name))), newline="")))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])  # noqa: RUF001
def test_formulas_become_text(text):
    assert safe_cell(text).lstrip('"').startswith("'")


@given(st.text(max_size=20))
def test_a_cell_is_one_cell_and_does_not_command_a_terminal(text):
    ((cell, end),) = csv.reader(io.StringIO(safe_cell(text) + ",end\r\n", newline=""), strict=True)
    assert end == "end"
    assert cell.isprintable()
    assert not cell.startswith(("=", "+", "-", "@"))
    cell.encode()


def test_negative_numbers_stay_numbers():
    run = run_of([batch(0, -2, -1)], 1, start_ms=-3)
    (row,) = rows_of(run, "batches")
    assert int(row["host_start_ns"]) == -2_000_000
    assert row["tokens"] == ""


@pytest.mark.parametrize("name", TABLES)
def test_columns_are_those_of_the_table(name):
    run = replace(run_of([batch(0, 0, 1, [stage("fetch", 0, 1)])], 1), run_id='=cmd|"x"')
    text = "".join(csv_pieces(run_table(run, name)))
    assert text.split("\r\n")[0].split(",") == list(run_table(run, name))
    assert all(row["run_id"] == '\'=cmd|"x"' for row in rows_of(run, name))
