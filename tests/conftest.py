# SPDX-License-Identifier: MIT
"""What all tests share: GPU tests are skipped, with the reason, where there is no GPU."""

import os
import re
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from virnuc_profiler import _core

HAS_GPU = bool(_core.cuda_status().available and _core.cuda_devices())

HAS_TORCH = find_spec("torch") is not None
_NO_TORCH = "No module named 'torch'"

if not HAS_GPU:
    os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels run on the CPU; Triton looks when it is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models gain nothing from threads, and workers share the cores

# Processes that tests start import the tests' own modules too, wherever pytest was started.
_ROOT = str(Path(__file__).resolve().parents[1])
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), _ROOT]))

# Beside other load, an example may take its time.
settings.register_profile("tests", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
# A shell starts background jobs with signals ignored, which the programs under test would inherit. A handler is not
# inherited, so SIGHUP still does not end a test run that was started with nohup.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester", "tests.support.small_disk", "tests.support.small_sweep", "tests.support.standin_fixtures"]

_MAX_ID_LENGTH = 40
_MAX_WORKERS = 8
"""More take longer to start than they save."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Share the tests among one process per core, but run a few files, or GPU tests alone, in this process."""
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    few_files = all(argument.partition("::")[0].endswith(".py") for argument in config.args)
    marks = config.getoption("markexpr")
    if few_files or (HAS_GPU and "gpu" in marks and "not gpu" not in marks):
        return 0
    if HAS_GPU:
        config.option.dist = "loadgroup"  # keeps the GPU tests in one process: they share a card and its memory
    return min(len(os.sched_getaffinity(0)), _MAX_WORKERS)


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """Skip modules that need PyTorch where it is not installed, as for a Python without a build of it."""
    outcome = yield
    report = outcome.get_result()
    if not HAS_TORCH and report.failed and _NO_TORCH in str(report.longrepr):
        report.outcome = "skipped"
        report.longrepr = (report.nodeid, 1, "Skipped: needs PyTorch")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Iterator[None]:
    """Skip tests that import PyTorch late, likewise, themselves or in a process of their own."""
    outcome = yield
    report = outcome.get_result()
    if not HAS_TORCH and report.failed and _NO_TORCH in report.longreprtext + report.capstderr + report.capstdout:
        report.outcome = "skipped"
        report.longrepr = (report.nodeid, 1, "Skipped: needs PyTorch")


def pytest_make_parametrize_id(val: Any, argname: str) -> str | None:
    """Keep test ids short and the same in every process: parallel workers must collect the same tests.

    Pytest numbers ids that are the same in one test.
    """
    if isinstance(val, bytes):  # compressed bytes hold the time
        return argname
    text = val if isinstance(val, str) else str(val) if isinstance(val, int | float) else None
    if text is None or (len(text) <= _MAX_ID_LENGTH and text.isascii() and text.isprintable()):
        return None
    return re.sub(r"[^!-~]+", " ", text)[:_MAX_ID_LENGTH].strip() or argname


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.xdist_group("gpu"))
    status = _core.cuda_status()
    reason = status.reason if not status.available else "" if _core.cuda_devices() else "no CUDA device"
    if not reason:
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=f"needs an NVIDIA GPU: {reason}"))
