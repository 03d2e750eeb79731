# SPDX-License-Identifier: MIT
"""What all tests share: GPU tests are skipped, with the reason, where there is no GPU."""

import os

import pytest

from virnuc_profiler import _core

if not (_core.cuda_status().available and _core.cuda_devices()):
    os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels run on the CPU; Triton looks when it is imported

pytest_plugins = ["tests.support.standin_fixtures"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    status = _core.cuda_status()
    reason = status.reason if not status.available else "" if _core.cuda_devices() else "no CUDA device"
    if not reason:
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=f"needs an NVIDIA GPU: {reason}"))
