# SPDX-License-Identifier: MIT
"""Helpers for tests on a GPU."""

from contextlib import contextmanager

import torch


@contextmanager
def no_waiting():
    """Make PyTorch raise wherever the host would wait for the device."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
