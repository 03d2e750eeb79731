# SPDX-License-Identifier: MIT
"""Recognize the errors by which PyTorch's loaders and process pools report a worker that died or failed."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from typing import Final

from virnuc_profiler.errors import WorkerCrash, first_line

_DIED = re.compile(r"DataLoader worker \(pid(?:\(s\))? (\d+)[\d, ]*\)")
_SIGNAL = re.compile(r"killed by signal: ([^.]+)\.")
_EXIT_CODE = re.compile(r"exit code (\d+)")
_RAISED = re.compile(r"Caught (\w+) in \w+ worker process")

_SIGNALS: Final = {signal.strsignal(number): int(number) for number in signal.valid_signals()}
"""Numbers of signals by the words that the system has for them."""


def as_worker_crash(error: BaseException) -> WorkerCrash | None:
    """Return what became of a worker, if an error reports that; None for any other error.

    Args:
        error: Error of a loop over a plain ``DataLoader``, or of a process pool.
    """
    text = str(error)
    if (raised := _RAISED.match(text)) is not None:
        last = text.strip().splitlines()[-1].strip()
        return WorkerCrash(f"a DataLoader worker raised {last}", exception=raised[1])
    if isinstance(error, BrokenExecutor):
        return WorkerCrash(first_line(error))
    if (died := _DIED.search(text)) is None:
        return None
    linked = [str(each) for each in _linked(error)]
    killed = next((found[1] for each in linked if (found := _SIGNAL.search(each))), None)
    exited = next((found[1] for each in linked if (found := _EXIT_CODE.search(each))), None)
    number = None if killed is None else _SIGNALS.get(killed)
    code = -number if number is not None else None if exited is None else int(exited)
    how = f" was killed by {signal.Signals(number).name}" if number is not None else " exited unexpectedly"
    more = "" if exited is None else f" with exit code {exited}"
    return WorkerCrash(f"DataLoader worker (pid {died[1]}){how}{more}", pid=int(died[1]), exit_code=code)


def _linked(error: BaseException) -> Iterator[BaseException]:
    linked: BaseException | None = error
    while linked is not None:
        yield linked
        linked = linked.__cause__ or linked.__context__
