# SPDX-License-Identifier: MIT
"""Hooks and the fixture of the plugin.

Every pytest session of an environment with this package imports this module, so it imports nothing but pytest and the
standard library; a session that does not use the fixture imports nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from virnuc_profiler.pytest_plugin.plugin_session import PluginSession
    from virnuc_profiler.pytest_plugin.profiled_test import ProfiledTest

_SESSION: pytest.StashKey[PluginSession] = pytest.StashKey()
_PROFILED: pytest.StashKey[ProfiledTest] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("virnuc_profiler", "profiled benchmark tests (fixture virnuc_profiler)")
    group.addoption("--virnuc-save", metavar="DIR", help="store the run of each profiled test in this folder")
    group.addoption(
        "--virnuc-compare", metavar="BASELINE",
        help="fail a profiled test that is SLOWER than in BASELINE, by the rules of `virnuc-profiler compare`: a "
        "folder of --virnuc-save (its subfolders are repeats), a saved run, or the name of a saved baseline",
    )  # fmt: skip
    group.addoption(
        "--virnuc-threshold", metavar="PERCENT", type=float, default=2.0,
        help="smallest difference that matters (default: 2)",
    )  # fmt: skip
    group.addoption(
        "--virnuc-run-noise", metavar="PERCENT", type=float, default=0.0,
        help="standard deviation from run to run, if you know it, for comparisons of one run each (default: 0)",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Check the options before any test runs."""
    options = [config.getoption(f"--virnuc-{name}") for name in ("save", "compare", "threshold", "run-noise")]
    if options == [None, None, 2.0, 0.0]:
        return
    from virnuc_profiler.errors import VirnucError
    from virnuc_profiler.pytest_plugin.plugin_session import PluginSession

    save, compare, threshold, run_noise = options
    try:
        config.stash[_SESSION] = PluginSession.of(Path.cwd(), save, compare, threshold / 100, run_noise / 100)
    except VirnucError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.fixture
def virnuc_profiler(request: pytest.FixtureRequest) -> Iterator[ProfiledTest]:
    """Profile this test: ``virnuc_profiler(function, *args)``, or ``with virnuc_profiler.loop() as profiler``."""
    from virnuc_profiler.pytest_plugin.profiled_test import ProfiledTest

    item: pytest.Item = request.node
    profiled = item.stash[_PROFILED] = ProfiledTest(item.nodeid)
    yield profiled
    profiled.close()
    del item.stash[_PROFILED]


@pytest.hookimpl(trylast=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Store and compare the run of a test, after its body has passed; a slower test fails here."""
    profiled = item.stash.get(_PROFILED, None)
    if profiled is None:
        return
    run = profiled.close()
    if run is None:
        return
    from virnuc_profiler.errors import OutputError
    from virnuc_profiler.pytest_plugin.plugin_session import PluginSession

    try:
        outcome = item.config.stash.get(_SESSION, PluginSession()).finish(item.nodeid, run)
    except OutputError as error:
        pytest.fail(str(error), pytrace=False)
    item.user_properties += outcome.properties()
    if outcome.warning:
        item.warn(pytest.PytestWarning(outcome.warning))
    if outcome.failure:
        pytest.fail(outcome.failure, pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for each profiled test. With pytest-xdist, the properties of the reports come from its workers."""
    reports = [
        report
        for found in terminalreporter.stats.values()
        for report in found
        if isinstance(report, pytest.TestReport) and report.when == "call"
    ]
    if not any(name.startswith("virnuc_") for report in reports for name, _ in report.user_properties):
        return
    from virnuc_profiler.pytest_plugin.summary_section import summary_lines

    config = terminalreporter.config
    terminalreporter.section("virnuc_profiler: profiled tests")
    for line in summary_lines(
        [(report.nodeid, dict(report.user_properties)) for report in reports],
        save=config.getoption("--virnuc-save"),
        compare=config.getoption("--virnuc-compare"),
        processes=getattr(config.option, "numprocesses", None) or 1,
    ):
        terminalreporter.write_line(line)
