# SPDX-License-Identifier: MIT
"""Tables that fit a width, and say what they leave out."""

import pytest

from tests.support.sweeps import failure, success
from virnuc_profiler.reports.sweeps.table_layout import FAILED, Column, table
from virnuc_profiler.targets.knobs.configuration import Configuration

RESULTS = [success(Configuration(workers), 100.0 + workers) for workers in (2, 4, 8)]
COLUMNS = [
    Column("Workers", lambda one: str(one.configuration.num_workers), code="w", legend="w: num_workers"),
    Column("Seq/sec", lambda one: f"{one.sequences_per_sec:.1f}"),
    Column("GPU Util", lambda one: f"{80 + one.configuration.num_workers}.0%", short="GPU", leaves=2),
    Column("Memory", lambda one: "6.54G" if one.succeeded else FAILED, leaves=3),
    Column("Measured", lambda one: "3.1 s", leaves=1, summary=lambda results: f"{len(results)} were measured."),
]


def shown(width, results=RESULTS, columns=COLUMNS):
    return table("Title", 10, columns, results, width)


def test_a_wide_terminal_shows_everything():
    whole = table("Title", 10, COLUMNS, RESULTS)
    assert whole == [
        "Title",
        "=" * 48,
        "Workers | Seq/sec | GPU Util | Memory | Measured",
        "2       | 102.0   | 82.0%    | 6.54G  | 3.1 s",
        "4       | 104.0   | 84.0%    | 6.54G  | 3.1 s",
        "8       | 108.0   | 88.0%    | 6.54G  | 3.1 s",
        "=" * 48,
    ]
    assert shown(len(whole[2])) == whole


def test_what_all_rows_share_becomes_a_note_first():
    assert shown(30)[2:] == [
        "Workers | Seq/sec | GPU",
        "2       | 102.0   | 82.0%",
        "4       | 104.0   | 84.0%",
        "8       | 108.0   | 88.0%",
        "=" * 25,
        "In all rows: Measured 3.1 s, Memory 6.54G.",
    ]


def test_names_become_codes_with_a_legend():
    assert shown(22)[2:4] == ["w | Seq/sec | GPU", "2 | 102.0   | 82.0%"]
    assert shown(22)[7] == "(w: num_workers)"


def test_what_matters_least_leaves_and_is_named():
    assert shown(12)[2:4] == ["w | Seq/sec", "2 | 102.0"]
    assert shown(12)[-1] == "Left out here: GPU Util; 48 columns show the whole table."


def test_a_column_may_leave_a_summary():
    columns = [
        *COLUMNS[:2],
        Column(
            "Measured",
            lambda one: f"{one.sequences_per_sec} s",
            leaves=1,
            summary=lambda results: f"{len(results)} were measured.",
        ),
    ]
    assert shown(20, columns=columns)[-1] == "3 were measured."


def test_failed_rows_do_not_count_as_different():
    results = [*RESULTS, failure(Configuration(16))]
    columns = [COLUMNS[0], COLUMNS[3]]
    assert shown(9, results, columns)[-1] == "In all rows: Memory 6.54G."


@pytest.mark.parametrize("width", [10, 20, 30, 40, 60])
def test_long_names_of_own_knobs_are_cut_at_last(width):
    name = Column(
        "Configuration", lambda one: f"backend=a_very_long_name_{one.configuration.num_workers}", may_be_cut=True
    )
    lines = shown(width, columns=[name, COLUMNS[1]])
    widest = max(map(len, lines[1:7]))
    assert widest <= max(width, 12 + 3 + 7)
    assert len(set(lines[3:6])) == 3


@pytest.mark.parametrize("results", [[], RESULTS[:1]])
def test_few_rows(results):
    assert shown(20, results)[0] == "Title"
