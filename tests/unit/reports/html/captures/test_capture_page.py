# SPDX-License-Identifier: MIT
"""Pages of captures, in a real browser."""

import pytest

from tests.support.browser import Browser, browser  # noqa: F401
from tests.support.nsys_files import NsysFile, real_exports, write_capture_of
from tests.support.run_records import MS, batch, run_of, stage
from virnuc_profiler.cli.main import main
from virnuc_profiler.reports.captures.projected_capture import project_capture
from virnuc_profiler.reports.html.captures.capture_page import render_capture_page
from virnuc_profiler.telemetry.records import DeviceCapture

HOSTILE = [
    "<script>window.hacked = 1</script>", "</script><script>window.hacked = 1</script>", "\x1b[31mred", "‮gnp.exe",
    "\"><img src=x onerror='window.hacked = 1'>", "@{x}{safe} $name", "$$\\frac{1}{2}$$", "=1+1", "x" * 10_000,
]  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A capture of two devices whose names are all hostile, written by the command."""
    folder = tmp_path_factory.mktemp("capture")
    with NsysFile(folder / "x.sqlite", version=HOSTILE[0]) as file:
        file.domain(1, HOSTILE[1])
        for number, name in enumerate(HOSTILE):
            file.range(name, 1000 * number, 1000 * number + 900, domain=number % 2)
            file.range(f"{name} in it, op_id = {number}", 1000 * number, 1000 * number + 100, domain=number % 2)
            for at in (10, 200):
                kernel = file.string(name)
                start = (1000 * number + at) * 1000
                file.launch(
                    1000 * number + at, start, start + 100_000 * (number + 1), demangledName=kernel, device=at // 200
                )
        file.work("KERNEL", 1, 300_000, 999)
    assert main(["correlate", str(folder / "x.sqlite"), "--html", str(folder / "x.html")]) == 0
    return folder / "x.html"


def test_hostile_names_do_nothing(browser: Browser, hostile):  # noqa: F811
    for width, dark in ((1280, False), (400, True)):
        browser.open(hostile, width=width, dark=dark)
        browser.draw_all()
        browser.hover(browser.driver.find_element("css selector", ".plot"))
        assert browser.js("return window.hacked") is None
        assert "\\u202egnp.exe" in browser.js("return document.body.innerText")
        assert not browser.scrolls_sideways()
        browser.assert_quiet()


def test_the_table_sorts_and_the_rest_is_stated(browser: Browser, hostile):  # noqa: F811
    browser.open(hostile)
    text = browser.js("return document.body.innerText")
    assert "was launched in no range" in text
    assert "(in no range)" in text
    assert "Device 1" in text
    first = "return document.querySelector('table.data tbody tr').innerText.split('\\t')[0].trim()"
    before = browser.js(first)
    button = browser.driver.find_element("xpath", "//th//button[contains(., 'Operator')]")
    button.click()
    assert browser.js(first) != before
    browser.assert_quiet()


def test_a_run_beside_its_capture(browser: Browser, tmp_path):  # noqa: F811
    records = [
        batch(n, 20 * n, 20 * n + 15, (stage("forward", 20 * n + 1, 20 * n + 2, (20 * n + 3, 20 * n + 13)),))
        for n in range(20)
    ]
    run = run_of(records, 420, device=DeviceCapture("NVIDIA H200", timed=True))
    run.save(tmp_path / "run_a.json")
    epoch = 1_740_830_400_000 * MS - 5000
    write_capture_of(run, tmp_path / "c.sqlite", offset_ns=5000, utc_epoch_ns=epoch)
    page = tmp_path / "c.html"
    assert main(["correlate", str(tmp_path / "run_a.json"), str(tmp_path / "c.sqlite"), "--html", str(page)]) == 0
    browser.open(page)
    text = browser.js("return document.body.innerText")
    assert "100.0% of 20 device intervals agree with the capture." in text
    assert "Batches: 20 in the run, 20 in the capture, 20 matched" in text
    browser.assert_quiet()


@pytest.mark.parametrize("rows", [[], [("KERNEL", 5)]])
def test_a_capture_without_ranges_or_without_work_has_a_page_too(browser: Browser, tmp_path, rows):  # noqa: F811
    with NsysFile(tmp_path / "x.sqlite") as file:
        for kind, number in rows:
            file.work(kind, 10, 20, number)
    page = tmp_path / "x.html"
    page.write_text(render_capture_page(project_capture(tmp_path / "x.sqlite")), encoding="utf-8")
    browser.open(page)
    assert "The capture shows no GPU work by range: it has no NVTX ranges." in browser.js(
        "return document.body.innerText"
    )
    browser.assert_quiet()


def test_real_captures(browser: Browser, tmp_path):  # noqa: F811
    folder = real_exports()
    if folder is None:
        pytest.skip("there are no exports in VIRNUC_NSYS_EXPORTS or shared/data/nsys")
    for export in sorted(folder.glob("*.sqlite")):
        page = tmp_path / f"{export.stem}.html"
        page.write_text(render_capture_page(project_capture(export)), encoding="utf-8")
        assert page.stat().st_size < 3e6
        browser.open(page)
        browser.draw_all()
        assert not browser.scrolls_sideways()
        browser.assert_quiet()
