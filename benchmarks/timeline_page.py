# SPDX-License-Identifier: MIT
"""Size, time and memory of the page of a long run, and how fast a browser draws any part of it.

The run is made by arithmetic (``benchmarks.long_runs``). A process of its own makes its page; time and peak memory are
those of the page alone and of the whole process. With Chromium and Selenium, the script opens the page, goes from the
whole run to single batches and back, and prints the main thread's time for each view: what a reader waits for, at any
frame rate.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.long_runs import long_run

VIEWS = """
const done = arguments[arguments.length - 1];
const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
(async () => {
  const { range, run } = virnucTimeline, whole = run.elapsed / 1e9;
  for (let view = 0; view < arguments[0]; view++) {
    const length = whole / 2 ** (view % 16), start = (whole - length) * ((view * 0.37) % 1);
    range.setv({ start, end: start + length });
    await frame(); await frame(); await frame();
  }
  done(virnucTimeline.stats);
})();
"""


def write_page(batches: int, path: Path) -> None:
    """Write the page of a run, and print its figures as JSON.

    Args:
        batches: Number of batches of the run.
        path: File to write.
    """
    from virnuc_profiler.reports.html.run_html import render_run_html

    run = long_run(batches, slow_batch=batches // 2)
    before_mb = _peak_mb()
    started, cpu = time.perf_counter(), time.process_time()
    page = render_run_html(run, "run.json")
    figures = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "run_mb": before_mb,
        "peak_mb": _peak_mb(),
        "page_mb": len(page.encode()) / 1e6,
    }
    path.write_text(page, encoding="utf-8")
    print(json.dumps(figures))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def drawn(path: Path, views: int) -> dict[str, Any] | str:
    """Return how fast a browser draws a page, or why there is no browser.

    Args:
        path: The page.
        views: Number of parts of the run to show.
    """
    from tests.support.browser import missing, started_browser

    if reason := missing():
        return reason
    with started_browser() as browser:
        browser.driver.set_script_timeout(300)
        browser.open(path)
        browser.draw_all()
        while not browser.js("return Boolean(virnucTimeline.run && virnucTimeline.range)"):
            time.sleep(0.05)
        browser.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        before = _task_seconds(browser)
        stats = browser.driver.execute_async_script(VIEWS, views)
        busy_ms = 1e3 * (_task_seconds(browser) - before) / views
        redraws = sorted(stats["redraws"][-views:])
        return {
            "first_paint_ms": browser.times_ms()["first paint"],
            "unpack_ms": stats["unpackMs"],
            "reduce_median_ms": redraws[len(redraws) // 2],
            "reduce_max_ms": redraws[-1],
            "view_ms": busy_ms,
        }


def _task_seconds(browser: Any) -> float:
    metrics = browser.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


def main() -> int:
    """Make the pages, draw them, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[1_000, 100_000, 1_000_000], help="sizes of runs")
    parser.add_argument("--views", type=int, default=48, help="views to draw in a browser, 0: none (default: 48)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write is not None:
        write_page(arguments.batches[0], arguments.write)
        return 0
    machine = (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    print(machine)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for batches in arguments.batches:
            path = Path(folder, f"{batches}.html")
            command = [
                sys.executable,
                "-m",
                "benchmarks.timeline_page",
                "--batches",
                str(batches),
                "--write",
                str(path),
            ]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(
                f"{batches:,} batches: page of {found['page_mb']:.2f} MB in {found['seconds']:.1f} s "
                f"({found['cpu_seconds']:.1f} s of CPU), {found['peak_mb']:,.0f} MB at most "
                f"({found['run_mb']:,.0f} MB with the run alone)"
            )
            if arguments.views:
                shown = drawn(path, arguments.views)
                if isinstance(shown, str):
                    print(f"  not drawn: {shown}")
                else:
                    found |= shown
                    first, unpacked = (f"{shown[key]:.0f} ms" for key in ("first_paint_ms", "unpack_ms"))
                    print(
                        f"  first paint {first}, unpacked in {unpacked}; each view takes {shown['view_ms']:.0f} ms of"
                    )
                    reduced = f"{shown['reduce_median_ms']:.1f} to reduce (at most {shown['reduce_max_ms']:.1f})"
                    print(f"  the main thread, {reduced}")
            figures[str(batches)] = found
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"machine": machine, "figures": figures}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
