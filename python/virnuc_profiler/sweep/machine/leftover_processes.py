# SPDX-License-Identifier: MIT
"""End the processes that foreign code has left running."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import psutil

from virnuc_profiler.sweep.machine.descendants import descendants
from virnuc_profiler.telemetry.number_text import counted

_END_S: Final = 5.0
"""Seconds in which killed processes must be gone."""

_log = logging.getLogger(__name__)


@contextmanager
def without_leftovers(owner: str) -> Iterator[None]:
    """Kill the processes that came during the block and still run at its end, so that they slow down nothing after it.

    Args:
        owner: Who has started them, for the warning.
    """
    before = descendants()
    try:
        yield
    finally:
        left = [process for process in descendants() - before if _is_running(process)]
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=_END_S)
        if left:
            _log.warning("%s left %s running, now ended", owner, counted(len(left), "process", "processes"))


def _is_running(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
