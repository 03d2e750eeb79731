# SPDX-License-Identifier: MIT
"""What tests of the runner and of the launcher share: GPUs that are only pretended, and a profiler that remembers."""

import pytest
import torch

from tests.support.packed import RecordingProfiler
from tests.support.pretended_device import PretendedDevice
from tests.support.streams import PretendedCuda


@pytest.fixture
def cuda(monkeypatch):
    """For the launcher: streams and events that prove the order of what is queued."""
    return PretendedCuda(monkeypatch, torch)


@pytest.fixture
def device(monkeypatch):
    """For the runner: batches are launched at once, and finished when waited for."""
    return PretendedDevice(monkeypatch)


@pytest.fixture
def profiler():
    """Keeps the batches that were begun, and how each ended."""
    return RecordingProfiler()
