# SPDX-License-Identifier: MIT
"""What all tests share: GPU tests are skipped, with the reason, where there is no GPU."""

import os
import re
import signal
from typing import Any

import pytest

from virnuc_profiler import _core

if not (_core.cuda_status().available and _core.cuda_devices()):
    os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels run on the CPU; Triton looks when it is imported

# A shell starts background jobs with signals ignored, which the programs under test would inherit. A handler is not
# inherited, so SIGHUP still does not end a test run that was started with nohup.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.support.standin_fixtures"]

_LONGEST_ID = 40


def pytest_make_parametrize_id(val: Any, argname: str) -> str | None:
    """Keep test ids short and the same in every process: parallel workers must collect the same tests.

    Pytest numbers ids that are the same in one test.
    """
    if isinstance(val, bytes):  # compressed bytes hold the time
        return argname
    text = val if isinstance(val, str) else str(val) if isinstance(val, int | float) else None
    if text is None or (len(text) <= _LONGEST_ID and text.isascii() and text.isprintable()):
        return None
    return re.sub(r"[^!-~]+", " ", text)[:_LONGEST_ID].strip() or argname


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    status = _core.cuda_status()
    reason = status.reason if not status.available else "" if _core.cuda_devices() else "no CUDA device"
    if not reason:
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=f"needs an NVIDIA GPU: {reason}"))
