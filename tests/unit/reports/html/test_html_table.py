# SPDX-License-Identifier: MIT
"""Tables as markup: what is escaped, what sorts, and what is read out."""

from markupsafe import Markup

from virnuc_profiler.reports.html.html_table import Cell, Column, Row, bullet_list, fact_list, html_table


def test_cells_have_their_keys_and_unknown_ones_none():
    table = html_table(
        ["Name", Column("Rate", numeric=True, first="descending")],
        [Row(["b", Cell("1.5 s", 1.5)], "chosen"), ["a", Cell("n/a", None)]],
    )
    assert (
        '<tr class="chosen"><th scope="row" data-key="b">b</th><td class="num" data-key="1.5">1.5 s</td></tr>' in table
    )
    assert '<td class="num">n/a</td>' in table
    assert (
        '<th scope="col" class="num" data-first="descending"><button type="button" data-column="1">Rate</button>'
        in table
    )


def test_text_is_escaped_everywhere():
    hostile = "<i onclick='x'>\u202e"
    column = Column(hostile, help=hostile)
    table = html_table([column], [[Cell(hostile, hostile, hostile)]], caption=hostile)
    for markup in (table, fact_list([(hostile, hostile)]), bullet_list([hostile])):
        assert "<i" not in markup
        assert "\u202e" not in markup
        assert "onclick=&#39;x&#39;" in markup


def test_what_is_not_sorted_has_no_buttons_and_an_empty_list_is_nothing():
    assert "<button" not in html_table(["a"], [["b"]], sortable=False)
    assert bullet_list([]) == Markup("")
