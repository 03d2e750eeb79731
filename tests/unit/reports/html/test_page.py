# SPDX-License-Identifier: MIT
"""The shell of the pages, in a real browser."""

import pytest
from bokeh.models import HoverTool
from bokeh.plotting import figure

from tests.support.browser import Browser, browser  # noqa: F401
from virnuc_profiler.reports.html.figures_html import Figure, themed
from virnuc_profiler.reports.html.html_table import Cell, Column, fact_list, html_table
from virnuc_profiler.reports.html.page import REPORT_MARK, Answer, Fact, Section, render_page
from virnuc_profiler.reports.html.safe_text import chart_text

HOSTILE = [
    "<script>window.hacked = 1</script>", "</script><script>window.hacked = 1</script>", "<!--<script>",
    "\"><img src=x onerror='window.hacked = 1'>", "\x1b[31mred\x1b[0m", "\u202egnp.exe", "\u200e\u2066a\u2069",
    "{{ 7 * 7 }}", "@{x}{safe} $name", "$$\\frac{1}{2}$$", "\\(x\\)", "https://example.org/x.png", "=1+1", "x" * 10_000,
]  # fmt: skip


def scatter(texts: list[str]) -> Figure:
    """A chart whose every text is hostile."""
    plot = figure(
        height=300, sizing_mode="stretch_width", x_range=[chart_text(one, 30) for one in texts],
        x_axis_label=chart_text(texts[0]), title=chart_text(texts[9]),
    )  # fmt: skip
    points = plot.scatter(
        "name", "y", size=12, legend_label=chart_text(texts[3]),
        source={"name": [chart_text(one, 30) for one in texts], "y": [1.0] * len(texts), "detail": texts},
    )  # fmt: skip
    themed(points.glyph, fill_color="series-1")
    plot.add_tools(HoverTool(tooltips=[("", "@detail")]))
    return Figure(plot, caption=texts[1], alternative=texts[2])


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    table = html_table(
        ["Name", Column("Rate (sequences/s)", numeric=True)],
        [[text, Cell(f"{number}.0", float(number), text)] for number, text in enumerate(HOSTILE)],
        caption=HOSTILE[0],
    )
    answer = Answer(HOSTILE[0], HOSTILE, [Fact(text, text, text) for text in HOSTILE[:3]], HOSTILE[1])
    section = Section("one", HOSTILE[2], [*HOSTILE, table, scatter(HOSTILE)], note=HOSTILE[1])
    html = render_page(
        HOSTILE[1], answer, [section], [Section("machine", "Machine", [fact_list(zip(HOSTILE, HOSTILE, strict=True))])],
        source=HOSTILE[5],
    )  # fmt: skip
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(html, encoding="utf-8")
    return path


def test_hostile_text_does_nothing(browser: Browser, page):  # noqa: F811
    browser.open(page)
    browser.draw_all()
    assert browser.js("return window.hacked") is None
    assert "\\u202egnp.exe" in browser.js("return document.body.innerText")
    assert not browser.scrolls_sideways()
    browser.hover(browser.driver.find_element("css selector", ".plot"))
    browser.assert_quiet()
    assert browser.js("return window.hacked") is None


def test_it_fits_a_telephone_and_follows_the_theme(browser: Browser, page):  # noqa: F811
    browser.open(page, width=400, dark=True)
    browser.draw_all()
    assert not browser.scrolls_sideways()
    assert browser.js("return getComputedStyle(document.body).backgroundColor") == "rgb(15, 19, 23)"
    color = "return Bokeh.documents[0].roots()[0].background_fill_color"
    assert browser.js(color) == "#161b21"
    browser.keys("t")
    assert browser.js(color) == "#ffffff"
    browser.js("localStorage.clear()")
    browser.assert_quiet()


def test_earlier_reports_are_told_from_other_files(page):
    assert REPORT_MARK in page.read_text(encoding="utf-8")[:1000]
