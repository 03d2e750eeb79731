# SPDX-License-Identifier: MIT
"""The timeline of a run in a real browser: what it shows is what the file says, from the whole run to one batch."""

import time

import numpy as np
import pytest
from benchmarks.long_runs import long_run

from tests.support.browser import Browser, browser  # noqa: F401
from virnuc_profiler.analysis.timeline.run_timeline import timeline_of
from virnuc_profiler.analysis.timeline.time_buckets import bucket_edges
from virnuc_profiler.reports.html.run_html import render_run_html

SLOW = 1234
WAIT_S = 60


@pytest.fixture(scope="module")
def run():
    return long_run(2000, slow_batch=SLOW)


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "run.html"
    path.write_text(render_run_html(run, "run.json"))
    return path


def opened(browser, path, **options):  # noqa: F811
    """Open a page and wait until its timeline is drawn and unpacked."""
    browser.open(path, **options)
    until(browser, "return Boolean(window.virnucTimeline?.range && window.virnucTimeline.run)")
    return browser


def until(browser, script):  # noqa: F811
    end = time.monotonic() + WAIT_S
    while not (found := browser.js(script)):
        assert time.monotonic() < end, script
        time.sleep(0.05)
    return found


def text(browser, name):  # noqa: F811
    """What an element of the timeline says."""
    return browser.js("return document.getElementById(arguments[0]).textContent", f"timeline-{name}")


def shown_ns(browser):  # noqa: F811
    return [1e9 * value for value in browser.js("return [virnucTimeline.range.start, virnucTimeline.range.end]")]


def test_the_page_is_quiet_and_fits_a_telephone(browser: Browser, page):  # noqa: F811
    for width in (1280, 400):
        opened(browser, page, width=width, dark=width == 400)
        browser.draw_all()
        assert not browser.scrolls_sideways()
        browser.assert_quiet()
    print(browser.times_ms(), browser.js("return virnucTimeline.stats"))


def test_the_times_in_the_page_are_those_of_the_run(browser: Browser, page, run):  # noqa: F811
    opened(browser, page)
    stages, origin = run.batches.stages, run.host_start_ns
    found = browser.js("const { rows } = virnucTimeline.run; return [rows.start, rows.end].map((one) => [...one])")
    assert found == [(stages.host_start_ns - origin).tolist(), (stages.host_end_ns - origin).tolist()]
    found = browser.js(
        "const { rows } = virnucTimeline.run;"
        "return [rows.deviceStart, rows.deviceEnd].map((one) => [...one].filter((_, row) => rows.timed[row]))"
    )
    timed = stages[stages.on_device]
    assert found == [(timed.device_start_ns - origin).tolist(), (timed.device_end_ns - origin).tolist()]
    timeline = timeline_of(run)
    found = browser.js("const { gaps } = virnucTimeline.run; return [[...gaps.start], [...gaps.end], [...gaps.spent]]")
    idle = timeline.idle
    assert found == [(idle.start_ns - origin).tolist(), (idle.end_ns - origin).tolist(), idle.cause_ns.tolist()]
    found = browser.js("const { batches } = virnucTimeline.run; return [[...batches.since], [...batches.done]]")
    assert found == [(column - origin).tolist() for column in (timeline.pace.since_ns, timeline.pace.completed_ns)]


@pytest.mark.parametrize("max_exact_intervals", [10**6, 5_000])
def test_the_script_reduces_as_the_analysis_does(browser: Browser, run, tmp_path, max_exact_intervals):  # noqa: F811
    path = tmp_path / "run.html"
    path.write_text(render_run_html(run, max_exact_intervals=max_exact_intervals))
    opened(browser, path)
    timeline = timeline_of(run, max_exact_intervals=max_exact_intervals)
    edges = bucket_edges(timeline.span, 64)  # a power of two, like the buckets that a long run is kept in
    reduced = timeline.reduced(edges)
    script = (
        "const { run } = virnucTimeline, edges = Float64Array.from(arguments[0]), elapsed = run.elapsed;"
        "const pace = virnucReduce.pace(run.batches.byDone, edges, run.rest);"
        "const lanes = run.lanes.map((one) => [...virnucReduce.covered(one.busy, edges, one.rest?.covered, elapsed)]);"
        "return { lanes,"
        " idle: run.gaps.byCause.map((one) => [...virnucReduce.spent(one, edges, one.rest, elapsed)]),"
        " flight: [...virnucReduce.summed({ ...run.batches }, edges, run.rest?.inFlight, elapsed)],"
        " pace: [pace.low, pace.mean, pace.high, pace.count].map((one) => [...one]) }"
    )
    found = browser.js(script, (edges - timeline.span[0]).tolist())
    slack_ns = 2.0 if timeline.exact.whole else (timeline.elapsed_ns / 16_384)  # a bucket that an edge divides
    for ours, theirs in zip(found["lanes"], reduced.covered, strict=True):
        assert np.allclose(ours, theirs, rtol=0, atol=slack_ns)
        assert sum(ours) == pytest.approx(int(theirs.sum()), abs=2)
    for ours, theirs in zip(found["idle"], reduced.idle, strict=True):
        assert np.allclose(ours, theirs, rtol=0, atol=slack_ns)
    assert np.allclose(found["flight"], reduced.in_flight, rtol=0, atol=4 * slack_ns)
    low, mean, high, count = (np.array(one, np.float64) for one in found["pace"])
    assert np.nanmax(high) == np.nanmax(reduced.pace.high)
    assert np.nanmin(low) == np.nanmin(reduced.pace.low)
    if timeline.exact.whole:
        assert count.tolist() == reduced.pace.counts.tolist()
        known = count > 0  # elsewhere the script shows the batch that lasts there
        assert np.allclose(mean[known], reduced.pace.mean[known])


def test_going_to_a_batch_shows_its_exact_times(browser: Browser, page, run):  # noqa: F811
    opened(browser, page)
    box = browser.driver.find_element("id", "timeline-index")
    box.send_keys("77\n")
    record, origin = run.batches[77], run.host_start_ns
    cells = until(browser, "return [...document.querySelectorAll('#timeline-batch td')].map((one) => one.textContent)")
    expected = []
    for stage in record.stages:
        expected += [f"{(stage.host_start_ns - origin) / 1e9:.9f}", f"{stage.host_ns / 1e6:.6f}"]
        if stage.device_start_ns is None:
            expected += ["n/a", "n/a"]
        else:
            expected += [f"{(stage.device_start_ns - origin) / 1e9:.9f}", f"{stage.device_ns / 1e6:.6f}"]
    assert cells == expected
    start, end = shown_ns(browser)
    assert start <= record.host_start_ns - origin
    assert end >= record.host_end_ns - origin
    assert end - start < 2 * record.host_ns
    assert "each interval as it was measured" in text(browser, "status")
    box.clear()
    box.send_keys("5000000\n")
    assert "no batch" in text(browser, "batch")
    browser.assert_quiet()


def test_keys_zoom_pan_and_find_what_matters(browser: Browser, page, run):  # noqa: F811
    opened(browser, page)
    elapsed = run.host_end_ns - run.host_start_ns
    browser.js("document.querySelector('[data-figure]').focus()")
    assert shown_ns(browser) == pytest.approx([0, elapsed])
    browser.keys("+")
    first = shown_ns(browser)
    assert first[1] - first[0] == pytest.approx(elapsed / 2)
    browser.keys("\ue014")  # right
    assert shown_ns(browser)[0] > first[0]
    browser.keys("0")
    assert shown_ns(browser) == pytest.approx([0, elapsed])
    browser.keys("\ue012", "-")  # nothing lies before the start, or beyond the whole
    assert shown_ns(browser) == pytest.approx([0, elapsed])
    browser.keys("s")
    assert f"Batch {SLOW:,}" in text(browser, "batch")
    browser.keys("0", "n")
    assert "the GPU is in no stage for" in text(browser, "batch")
    assert shown_ns(browser)[1] < elapsed / 2
    browser.assert_quiet()


def test_the_wheel_zooms_after_a_click_only(browser: Browser, page, run):  # noqa: F811
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    opened(browser, page)
    chart = browser.driver.find_element("css selector", "[data-figure]")
    browser.js("arguments[0].scrollIntoView()", chart)
    elapsed = run.host_end_ns - run.host_start_ns

    def wheel():
        origin = ScrollOrigin.from_element(chart, 0, -200)
        ActionChains(browser.driver, duration=0).scroll_from_origin(origin, 0, -200).perform()

    wheel()
    assert shown_ns(browser) == pytest.approx([0, elapsed])
    ActionChains(browser.driver, duration=0).move_to_element_with_offset(chart, 0, -200).click().perform()
    wheel()
    start, end = shown_ns(browser)
    assert end - start < 0.9 * elapsed


def test_the_pointer_tells_exact_numbers(browser: Browser, page, run):  # noqa: F811
    opened(browser, page, height=1600)
    box = browser.driver.find_element("id", "timeline-index")
    box.send_keys("77\n")
    chart = browser.driver.find_element("css selector", "[data-figure]")
    browser.js("arguments[0].scrollIntoView()", chart)
    height = chart.size["height"]
    told = set()
    for y in range(-height // 2 + 60, height // 2 - 10, 9):
        browser.hover(chart, 60, y)
        told.add(browser.js("const tip = document.getElementById('tip'); return tip.hidden ? '' : tip.innerText"))
    text = "\n".join(told)
    forward = next(stage for stage in run.batches[77].stages if stage.name == "forward")
    assert f"forward on the GPU, batch 77\n{forward.device_ns / 1e6:.6f} ms" in text
    assert "power: " in text
    assert "SM activity: " in text
    browser.assert_quiet()


def test_print_shows_the_whole_run(browser: Browser, page, run):  # noqa: F811
    opened(browser, page)
    browser.js("virnucTimeline.range.setv({ start: 0.1, end: 0.2 })")
    browser.driver.execute_cdp_cmd("Page.printToPDF", {})
    elapsed = run.host_end_ns - run.host_start_ns
    assert until(browser, "return virnucTimeline.stats.printed") == pytest.approx([0, elapsed])
    assert shown_ns(browser) == pytest.approx([1e8, 2e8])
    browser.assert_quiet()


def test_a_long_run_says_what_is_kept_and_shows_the_slow_batch(browser: Browser, run, tmp_path):  # noqa: F811
    path = tmp_path / "long.html"
    path.write_text(render_run_html(run, max_exact_intervals=5_000))
    opened(browser, path)
    timeline = timeline_of(run, max_exact_intervals=5_000)
    kept = int(timeline.exact.batches.sum())
    assert f"the times of {kept:,} are in this page one by one" in browser.js("return document.body.innerText")
    browser.js("document.querySelector('[data-figure]').focus()")
    browser.keys("s")
    assert f"Batch {SLOW:,}" in text(browser, "batch")
    browser.assert_quiet()


def test_without_decompression_the_whole_run_is_shown_and_it_says_so(browser: Browser, page):  # noqa: F811
    added = browser.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": "delete window.DecompressionStream"}
    )
    try:
        browser.open(page)
        until(browser, "return Boolean(window.virnucTimeline?.range)")
        until(browser, "return document.getElementById('timeline-status').textContent.includes('cannot unpack')")
        browser.js("virnucTimeline.range.setv({ start: 0, end: 0.5 })")
        assert until(browser, "return document.getElementById('timeline-status').textContent.includes('cannot unpack')")
        assert browser.js("return virnucTimeline.doc.get_model_by_name('bars-series-1').data.left.length") > 100
        browser.assert_quiet()
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
