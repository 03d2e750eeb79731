# SPDX-License-Identifier: MIT
"""How fast reports as HTML open and react in a real headless browser, and pictures of them.

    python benchmarks/report_pages.py SWEEP_FOLDER RUN.json --screenshots pictures

makes the page of each path, opens it in Debian's Chromium, and prints its size, the times to its first paint, to when
it can be used and to when all of its charts are drawn, and those that sorting a table, zooming a chart and switching
the theme take until the next frame. With ``--screenshots`` it writes a picture of each page at 1,280 and 400 pixels,
light and dark.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.browser import Browser, missing, started_browser  # noqa: E402

from virnuc_profiler.cli.pages.html_report import page_of  # noqa: E402

WIDTHS = (1280, 400)
THEMES = ("light", "dark")

FRAME = """
const done = arguments[arguments.length - 1], started = performance.now();
try { %s } catch (error) { done(-1); }
requestAnimationFrame(() => setTimeout(() => done(performance.now() - started)));
"""
ACTIONS = {
    "sort": "document.querySelector('table[data-sortable] thead button').click();",
    "zoom": "document.querySelector('.plot').dispatchEvent(new KeyboardEvent('keydown', { key: '+' }));",
    "theme": "document.getElementById('theme-button').click();",
}


def save_screenshots(
    browser: Browser,
    page: Path,
    folder: Path,
    *,
    widths: Iterable[int] = WIDTHS,
    themes: Iterable[str] = ("light", "dark"),
) -> Iterator[Path]:
    """Write a picture of the whole page at each width in each theme, and yield its path.

    Args:
        browser: Browser to open it in.
        page: The page.
        folder: Folder of the pictures, named such as ``sweep_1280_light.png``.
        widths: Widths in CSS pixels.
        themes: ``light``, ``dark`` or both.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for width in widths:
        for theme in themes:
            browser.open(page, width=width, dark=theme == "dark")
            browser.draw_all()
            path = folder / f"{page.stem}_{width}_{theme}.png"
            browser.screenshot(path)
            yield path


def measure(browser: Browser, page: Path) -> dict[str, float]:
    """Return the times of a page in milliseconds.

    Args:
        browser: Browser to open it in.
        page: The page.
    """
    browser.open(page)
    found = {**browser.times_ms(), "all charts": browser.draw_all()}
    for name, action in ACTIONS.items():
        found[name] = float(browser.driver.execute_async_script(FRAME % action))
    browser.js("localStorage.clear()")
    browser.assert_quiet()
    return found


def main() -> None:
    """Make, open and measure the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH")
    parser.add_argument("--screenshots", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    if reason := missing():
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as folder, started_browser() as browser:
        for number, path in enumerate(arguments.paths):
            began = time.perf_counter()
            page = Path(folder) / f"{path.stem}_{number}.html"
            page.write_text(page_of(path), encoding="utf-8")
            made = time.perf_counter() - began
            times = ", ".join(f"{name} {value:,.0f} ms" for name, value in measure(browser, page).items())
            print(f"{path}: {page.stat().st_size / 1e6:.2f} MB, made in {made:.1f} s; {times}")
            if arguments.screenshots is not None:
                for picture in save_screenshots(browser, page, arguments.screenshots):
                    print(f"  {picture}")


if __name__ == "__main__":
    main()
