# SPDX-License-Identifier: MIT
"""What is expensive to make is made once per test session, also when several processes share the tests."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def once_per_session(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], object]) -> Path:
    """Return the session's folder `name`, which the first process that asks for it fills while the others wait."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # of the folders of all workers
    folder = shared / name
    with (shared / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.fstat(lock.fileno()).st_size:  # it stays empty until the folder is complete
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            fill(folder)
            lock.write("complete")
    return folder
