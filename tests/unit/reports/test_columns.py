# SPDX-License-Identifier: MIT
"""Tables and sentences that fit a width."""

from virnuc_profiler.reports.columns import aligned, filled, fitted, shortened

ROWS = [("Name", "First", "Second", "Third"), ("a", "1", "22", "333"), ("bb", "4", "5", "6")]


def test_a_table_that_fits_is_one_table():
    assert fitted(ROWS, 80) == aligned(ROWS)
    assert fitted(ROWS, len(aligned(ROWS)[0])) == aligned(ROWS)


def test_a_wide_table_becomes_several_that_repeat_the_left_columns():
    assert fitted(ROWS, 22) == [
        "Name | First | Second",
        "a    |     1 |     22",
        "bb   |     4 |      5",
        "",
        "Name | Third",
        "a    |   333",
        "bb   |     6",
    ]


def test_a_column_that_fits_nowhere_has_a_table_of_its_own():
    assert fitted([("Name", "x" * 30, "y"), ("a", "1", "2")], 20)[0] == "Name | " + "x" * 30
    assert fitted([("Name", "x" * 30, "y"), ("a", "1", "2")], 20)[3:] == ["Name | y", "a    | 2"]


def test_a_table_of_left_columns_alone():
    assert fitted([("a", "b"), ("c", "d")], 80, left=2) == ["a | b", "c | d"]


def test_sentences_are_broken_between_words():
    assert filled("one two three-four five", 12, "  ") == ["one two", "  three-four", "  five"]
    assert filled("", 10) == [""]


def test_long_names_lose_their_middle():
    assert shortened("aten::copy_, op_id = 317175", 16) == "aten::co… 317175"
    assert shortened("short", 5) == "short"
