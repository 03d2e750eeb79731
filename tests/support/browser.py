# SPDX-License-Identifier: MIT
"""A real headless browser for pages: it fails on errors in the console and on any request to a network.

Debian's ``chromium`` and ``chromium-driver`` and the package ``selenium`` are needed; tests are skipped without them.
A start takes about a second of two cores, so a module starts one browser and opens its pages in it.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--disable-features=OptimizationHints,MediaRouter,Translate,AutofillServerCommunication",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # nothing leaves the machine, whatever a page asks for
    "--force-color-profile=srgb",
    "--hide-scrollbars",
)
LOCAL = ("file:", "data:", "blob:", "about:", "chrome:", "devtools:")

PAINT = """
const done = arguments[arguments.length - 1];
const read = () => {
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  if (!paint) return setTimeout(read, 20);
  const load = performance.getEntriesByType("navigation")[0];
  done([paint.startTime, load.domInteractive, load.loadEventEnd]);
};
read();
"""
DRAWN = """
const done = arguments[arguments.length - 1];
const started = performance.now();
const next = () => {
  const target = document.querySelector("[data-figure]:not([data-drawn])");
  if (target && performance.now() - started < 20000) {
    target.scrollIntoView();
    setTimeout(next, 20);
    return;
  }
  scrollTo(0, 0);
  const passed = target ? -1 : performance.now() - started;
  requestAnimationFrame(() => requestAnimationFrame(() => done(passed)));
};
next();
"""


def missing() -> str:
    """Why there is no browser to test with; empty if there is one."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "needs the package selenium"
    if _program("VIRNUC_CHROMIUM", "chromium", "chromium-browser", "google-chrome") is None:
        return "needs a Chromium browser (Debian: chromium)"
    if _program("VIRNUC_CHROMEDRIVER", "chromedriver") is None:
        return "needs chromedriver (Debian: chromium-driver)"
    return ""


def _program(variable: str, *names: str) -> str | None:
    return os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None)


class Browser:
    """A browser, with what its console and its network have seen since the page was opened.

    Attributes:
        driver: Selenium's driver, for everything that this class does not do.
    """

    def __init__(self, driver: Any):
        self.driver = driver
        self._messages: list[str] = []
        self._requests: list[str] = []

    def open(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a file as a reader would, at a width in CSS pixels, with the system's theme."""
        self.log()
        self._messages, self._requests = [], []
        self.size(width, height)
        self.theme(dark=dark)
        self.driver.get(path.resolve().as_uri())

    def size(self, width: int, height: int = 900) -> None:
        """Give the page a width and height; a browser's window cannot be as narrow as a telephone."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def theme(self, *, dark: bool, media: str = "") -> None:
        """Set what the system prefers, and the medium (``print``)."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})

    def js(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page, whose ``return`` is returned."""
        return self.driver.execute_script(script, *arguments)

    def keys(self, *keys: str) -> None:
        """Press keys, one after the other, in what has the focus."""
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.driver, duration=0).send_keys(key).perform()

    def hover(self, element: Any, x: float = 0, y: float = 0) -> None:
        """Move the pointer over an element, by an offset from its middle."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver, duration=0).move_to_element_with_offset(element, x, y).perform()

    def draw_all(self) -> float:
        """Scroll through the page until each chart is drawn; return how long that took, in milliseconds."""
        passed = float(self.driver.execute_async_script(DRAWN))
        assert passed >= 0, f"a chart was not drawn: {self.log()[0]}"
        return passed

    def times_ms(self) -> dict[str, float]:
        """First paint, interactive and loaded, from the start of loading."""
        first, interactive, loaded = self.driver.execute_async_script(PAINT)
        return {"first paint": first, "interactive": interactive, "loaded": loaded}

    def scrolls_sideways(self) -> bool:
        """Whether the page is wider than the window."""
        return bool(self.js("return document.documentElement.scrollWidth > innerWidth"))

    def log(self) -> tuple[list[str], list[str]]:
        """Errors and warnings of the console, and requests to anything but the page itself, since it was opened."""
        self._messages += [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]
        for entry in self.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                url = event["params"]["request"]["url"]
                if not url.startswith(LOCAL):
                    self._requests.append(url)
        return self._messages, self._requests

    def assert_quiet(self) -> None:
        """Fail if the page has logged an error or a warning, or has asked any network for anything."""
        messages, requests = self.log()
        assert messages == []
        assert requests == []

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write a PNG of the whole page, or of what the window shows."""
        import base64

        options: dict[str, Any] = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self.js("return [document.documentElement.clientWidth, document.documentElement.scrollHeight]")
            options["clip"] = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        data = self.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def started_browser() -> Iterator[Browser]:
    """Start a browser, and end it with all its processes."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = _program("VIRNUC_CHROMIUM", "chromium", "chromium-browser", "google-chrome")
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(_program("VIRNUC_CHROMEDRIVER", "chromedriver")))
    try:
        driver.set_script_timeout(30)
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for all tests of a module."""
    if reason := missing():
        pytest.skip(reason)
    with started_browser() as one:
        yield one
