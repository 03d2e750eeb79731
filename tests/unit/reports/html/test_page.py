# SPDX-License-Identifier: MIT
"""Pages in a real browser: they load nothing, log nothing, sort, zoom, follow the theme, and take hostile text as text.

All in one module, since a browser takes a second to start.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from bokeh.models import HoverTool
from bokeh.plotting import figure
from selenium.webdriver.common.keys import Keys

from tests.support.browser import Browser, browser  # noqa: F401
from tests.support.sweeps import FakeTrials, conditions, failure, run_in_journal, small_plan, success
from virnuc_profiler.analysis.comparison.effects import Rule
from virnuc_profiler.analysis.comparison.sides import compare_sides
from virnuc_profiler.reports.comparison.sources import read_side
from virnuc_profiler.reports.html.comparison_page import render_comparison_page
from virnuc_profiler.reports.html.figures_html import Figure, themed
from virnuc_profiler.reports.html.html_table import Cell, Column, fact_list, html_table
from virnuc_profiler.reports.html.page import REPORT_MARK, Answer, Fact, Section, render_page
from virnuc_profiler.reports.html.safe_text import chart_text
from virnuc_profiler.reports.html.sweep_page import render_sweep_page
from virnuc_profiler.reports.sweeps.sweep_folder import read_sweep_folder

REAL = Path(__file__).parents[3] / "data/h200"
MAX_BYTES = 5e6

HOSTILE = [
    "<script>window.hacked = 1</script>", "</script><script>window.hacked = 1</script>", "<!--<script>",
    "\"><img src=x onerror='window.hacked = 1'>", "\x1b[31mred\x1b[0m", "\u202egnp.exe", "\u200e\u2066a\u2069",
    "{{ 7 * 7 }}", "@{x}{safe} $name", "$$\\frac{1}{2}$$", "\\(x\\)", "https://example.org/x.png", "=1+1", "x" * 10_000,
]  # fmt: skip

DARK_PAPER, LIGHT_PAPER = "rgb(15, 19, 23)", "rgb(247, 248, 249)"
PAPER = "return getComputedStyle(document.body).backgroundColor"
RANGE = "const r = Bokeh.documents[{}].roots()[0].x_range; return [r.start, r.end]"


def rows(browser, column):  # noqa: F811
    body = "[...document.querySelector('table.data').tBodies[0].rows]"
    return browser.js(f"return {body}.map((row) => row.cells[arguments[0]].innerText)", column)


def scatter(texts):
    """A chart whose every text is hostile."""
    plot = figure(
        height=300, sizing_mode="stretch_width", x_range=[chart_text(one, 30) for one in texts],
        x_axis_label=chart_text(texts[0]), title=chart_text(texts[9]),
    )  # fmt: skip
    points = plot.scatter(
        "name", "y", size=40, legend_label=chart_text(texts[3]),
        source={"name": [chart_text(one, 30) for one in texts], "y": [1.0] * len(texts), "detail": texts},
    )  # fmt: skip
    themed(points.glyph, fill_color="series-1")
    plot.add_tools(HoverTool(tooltips=[("", "@detail")]))
    return Figure(plot, caption=texts[1], alternative=texts[2])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
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


@pytest.fixture(scope="module")
def real_sweep(tmp_path_factory):
    path = tmp_path_factory.mktemp("real") / "sweep.html"
    path.write_text(render_sweep_page(read_sweep_folder(REAL / "grid_sweep")), encoding="utf-8")
    return path


def test_hostile_text_does_nothing(browser: Browser, hostile):  # noqa: F811
    browser.open(hostile)
    browser.draw_all()
    shown = browser.js("return document.body.innerText")
    assert "\\u202egnp.exe" in shown
    assert "\\x1b[31mred" in shown
    assert "{{ 7 * 7 }}" in shown
    plot = browser.driver.find_element("css selector", ".plot")
    for x in (-300, 0, 300):
        browser.hover(plot, x, 0)
    assert not browser.scrolls_sideways()
    assert browser.js("return window.hacked") is None
    browser.assert_quiet()


def test_it_fits_a_telephone_and_follows_the_theme(browser: Browser, hostile):  # noqa: F811
    browser.open(hostile, width=400, dark=True)
    browser.draw_all()
    assert not browser.scrolls_sideways()
    assert browser.js(PAPER) == DARK_PAPER
    color = "return Bokeh.documents[0].roots()[0].background_fill_color"
    assert browser.js(color) == "#161b21"
    browser.keys("t")
    assert browser.js(color) == "#ffffff"
    assert browser.js(PAPER) == LIGHT_PAPER
    browser.keys("t")
    browser.theme(dark=True, media="print")
    assert browser.js(PAPER) == "rgb(255, 255, 255)"
    browser.js("localStorage.clear()")
    browser.assert_quiet()


def test_the_page_of_a_real_sweep_works_with_pointer_and_keys(browser: Browser, real_sweep):  # noqa: F811
    assert real_sweep.stat().st_size < MAX_BYTES
    browser.open(real_sweep)
    times = browser.times_ms()
    drawn = browser.draw_all()
    print({**times, "all charts": drawn, "bytes": real_sweep.stat().st_size})
    assert "Tied: keep the baseline" in browser.js("return document.getElementById('answer').innerText")
    assert not browser.scrolls_sideways()

    hours = [float(text.split()[0]) for text in rows(browser, 4)]
    browser.driver.find_element("css selector", "button[data-column='4']").click()
    assert [float(text.split()[0]) for text in rows(browser, 4)] == sorted(hours)
    browser.keys(Keys.ENTER)  # the heading has the focus
    assert [float(text.split()[0]) for text in rows(browser, 4)] == sorted(hours, reverse=True)
    assert browser.js("return document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "descending"

    cell = browser.driver.find_element("css selector", "table.heat td")
    browser.hover(cell)
    assert "num_workers=2, prefetch_factor=2" in browser.js("return document.getElementById('tip').innerText")
    browser.js("arguments[0].focus()", cell)
    browser.keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    assert "num_workers=4, prefetch_factor=4" in browser.js("return document.getElementById('tip').innerText")

    plot = browser.driver.find_element("css selector", ".plot")
    whole = browser.js(RANGE.format(0))
    browser.js("arguments[0].focus()", plot)
    browser.keys("+")
    closer = browser.js(RANGE.format(0))
    assert closer[1] - closer[0] < whole[1] - whole[0]
    browser.keys(Keys.ARROW_RIGHT)
    assert browser.js(RANGE.format(0))[0] > closer[0]
    browser.keys("0")
    assert browser.js(RANGE.format(0)) == pytest.approx(whole)
    browser.assert_quiet()


def test_a_finger_scrolls_the_page_over_charts(browser: Browser, real_sweep):  # noqa: F811
    touch = (
        "const find = (node) => { for (const one of node.querySelectorAll('*')) {"
        " if (one.matches('.bk-events')) return one;"
        " const inner = one.shadowRoot && find(one.shadowRoot); if (inner) return inner; } };"
        "return getComputedStyle(find(document.querySelector('.plot'))).touchAction"
    )
    browser.open(real_sweep)
    browser.draw_all()
    assert browser.js(touch) != "auto"
    browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    features = [{"name": "hover", "value": "none"}, {"name": "pointer", "value": "coarse"}]
    try:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.driver.refresh()
        browser.draw_all()
        assert browser.js("return matchMedia('(hover: none) and (pointer: coarse)').matches")
        assert browser.js(touch) == "auto"
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
        browser.theme(dark=False)


def test_keyboard_reaches_everything(browser: Browser, real_sweep):  # noqa: F811
    browser.open(real_sweep)
    browser.draw_all()
    focused = "return document.activeElement.className || document.activeElement.id || document.activeElement.tagName"
    reached = []
    for _ in range(22):
        browser.keys(Keys.TAB)
        reached.append(browser.js(focused))
    assert reached[0] == "skip"
    assert {"help-button", "theme-button", "command", "plot"} <= set(reached)
    browser.keys("?")
    assert browser.js("return document.getElementById('help').open")
    browser.keys(Keys.ESCAPE)
    assert not browser.js("return document.getElementById('help').open")


def test_a_point_says_what_it_is(browser: Browser, real_sweep):  # noqa: F811
    browser.open(real_sweep)
    browser.draw_all()
    at = browser.js(
        "const plot = Bokeh.documents[0].roots()[0], view = Bokeh.index.find_one(plot);"
        "const points = plot.renderers.at(-1).data_source.data;"
        "const box = document.querySelector('.plot').getBoundingClientRect();"
        "document.querySelector('.plot').scrollIntoView();"
        "return [view.frame.x_scale.compute(points.x[0]) - box.width / 2,"
        " view.frame.y_scale.compute(points.y[0]) - box.height / 2]"
    )
    browser.hover(browser.driver.find_element("css selector", ".plot"), *at)
    text = browser.js(
        "const found = []; const look = (node) => { for (const one of node.querySelectorAll('*')) {"
        " if (one.shadowRoot) look(one.shadowRoot); if (one.className?.includes?.('bk-Tooltip')) found.push(one); } };"
        "look(document); return found.map((one) => one.shadowRoot.textContent).join()"
    )
    assert "num_workers=" in text
    assert "hours" in text or " h for 6,000,000 sequences" in text


def test_without_scripts_the_page_has_its_tables(real_sweep):
    html = real_sweep.read_text(encoding="utf-8")
    assert REPORT_MARK in html[:1000]
    assert "Content-Security-Policy\" content=\"default-src 'none'; script-src 'sha256-" in html[:1000]
    assert html.count("<table") > 10


def test_an_adaptive_sweep_shows_its_progress(browser: Browser, tmp_path):  # noqa: F811
    path = tmp_path / "adaptive.html"
    path.write_text(render_sweep_page(read_sweep_folder(REAL / "adaptive_sweep")), encoding="utf-8")
    browser.open(path, width=400)
    browser.draw_all()
    text = browser.js("return document.body.innerText")
    assert "Recommended: 1.04x" in text
    assert "15 trials. The best single trial had 1.04x the speed of the baseline" in text
    assert not browser.scrolls_sideways()
    browser.assert_quiet()


def test_hostile_names_in_a_sweep_do_nothing(browser: Browser, tmp_path):  # noqa: F811
    def result_of(config):
        if config.num_workers == 2 and config.prefetch_factor == 8:
            return failure(config, reason=HOSTILE[0], message=HOSTILE[1] * 100)
        held = {"held_down_share": 0.5, "reasons": {HOSTILE[3]: 1}}
        return success(config, 100.0 + config.token_budget / 1000, evidence=held, outcome="throttled")

    about = conditions(model__model_name=HOSTILE[1], machine__cpu_model=HOSTILE[3], versions__torch=HOSTILE[9])
    folder = tmp_path / "\u202e<script>window.hacked=1<"
    folder.mkdir()
    plan = replace(small_plan(), grid={"num_workers": (2, 4), "prefetch_factor": (4, 8)})
    run_in_journal(folder, FakeTrials(result_of), begin=plan, conditions=about)
    path = tmp_path / "page.html"
    path.write_text(render_sweep_page(read_sweep_folder(folder)), encoding="utf-8")
    browser.open(path)
    browser.draw_all()
    browser.hover(browser.driver.find_element("css selector", "td.failed"))
    assert "<script>" in browser.js("return document.getElementById('tip').innerText")
    assert browser.js("return window.hacked") is None
    assert not browser.scrolls_sideways()
    browser.assert_quiet()


def test_the_page_of_a_comparison(browser: Browser, tmp_path):  # noqa: F811
    reference, candidate = (read_side([REAL / name]) for name in ("grid_sweep", "adaptive_sweep"))
    compared = compare_sides(reference, candidate, Rule(threshold=0.02, run_noise=0.0), anyway=True)
    path = tmp_path / "compared.html"
    path.write_text(render_comparison_page(compared), encoding="utf-8")
    browser.open(path, dark=True)
    print(browser.times_ms(), browser.draw_all())
    text = browser.js("return document.body.innerText")
    assert "adaptive_sweep against grid_sweep" in text
    assert "Steady tokens/s" in text
    browser.assert_quiet()
