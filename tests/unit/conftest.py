# SPDX-License-Identifier: MIT
"""Fixtures of the runner's and the launcher's tests: simulated GPUs, and a profiler that keeps its batches.

They import PyTorch late, because the other tests run without it.
"""

import pytest


@pytest.fixture
def cuda(monkeypatch):
    """Simulated streams and events, which prove the order of what the launcher queues."""
    import torch

    from tests.support.streams import SimulatedCuda

    return SimulatedCuda(monkeypatch, torch)


@pytest.fixture
def device(monkeypatch):
    """Simulated GPU for the runner: batches are launched at once, and finish when they are waited for."""
    from tests.support.simulated_device import SimulatedDevice

    return SimulatedDevice(monkeypatch)


@pytest.fixture
def profiler():
    """Keeps the batches that were begun, and how each ended."""
    from tests.support.packed import RecordingProfiler

    return RecordingProfiler()
