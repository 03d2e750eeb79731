# SPDX-License-Identifier: MIT
"""Makes the pictures of reports that README and the site show, light and dark, in headless Chromium.

Usage, in a checkout: PYTHONPATH=python:. python docs/make_screenshots.py SWEEP RUN [FOLDER]

SWEEP is the folder of a sweep and RUN a saved run; FOLDER is docs/images by default. It needs the extra `html`, the
packages selenium and pillow, and Debian's chromium and chromium-driver.
"""

import io
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tests.support.browser import Browser, started_browser

WIDTH = 1280
MAX_BYTES = 200_000
COLORS = 128
"""A chart and its text have few colors; a palette of 128 takes a third of the bytes and looks the same."""


@dataclass(frozen=True)
class Picture:
    """One part of a report.

    Attributes:
        name: Name of the file, which ends in the theme.
        report: What is reported on, ``sweep`` or ``run``.
        anchor: Section at the upper edge of the picture; empty for the top of the page.
        height: Height in CSS pixels.
    """

    name: str
    report: str
    anchor: str
    height: int


PICTURES = (
    Picture("report-sweep", "sweep", "", 875),
    Picture("report-run", "run", "timeline", 900),
)


IMAGES = Path(__file__).with_name("images")


def main(sweep: Path, run: Path, folder: Path = IMAGES) -> int:
    """Write the pictures and print their sizes; fail if one is too large."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, started_browser() as browser:
        pages = {name: Path(temporary, f"{name}.html") for name in ("sweep", "run")}
        for name, source, shown in (("sweep", sweep, "results"), ("run", run, "run.json")):
            Path(temporary, shown).symlink_to(source.resolve())  # pages show the path that they are given
            report = [sys.executable, "-m", "virnuc_profiler", "report", shown, "--html", str(pages[name])]
            subprocess.run(report, check=True, stdout=subprocess.DEVNULL, cwd=temporary)
        sizes = {
            path.name: path.stat().st_size
            for picture in PICTURES
            for path in (_take(browser, picture, pages, folder, theme) for theme in ("light", "dark"))
        }
    for name, size in sizes.items():
        print(f"{name}: {size:,} bytes{'' if size <= MAX_BYTES else f', more than {MAX_BYTES:,}'}")
    return 0 if max(sizes.values()) <= MAX_BYTES else 1


def _take(browser: Browser, picture: Picture, pages: Mapping[str, Path], folder: Path, theme: str) -> Path:
    browser.open(pages[picture.report], width=WIDTH, height=picture.height, dark=theme == "dark")
    browser.draw_all()
    if picture.anchor:
        browser.js("document.getElementById(arguments[0]).scrollIntoView()", picture.anchor)
    with tempfile.NamedTemporaryFile(suffix=".png") as raw:
        browser.screenshot(Path(raw.name), whole=False)
        image = Image.open(io.BytesIO(Path(raw.name).read_bytes())).convert("RGB")
    path = folder / f"{picture.name}-{theme}.png"
    image.quantize(COLORS, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    return path


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
