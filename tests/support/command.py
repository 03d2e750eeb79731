# SPDX-License-Identifier: MIT
"""The command line as a user has it: a process in its own session, whose remaining processes can be found.

Also those in other sessions: what a command starts inherits a mark in its environment.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass

import psutil

MARK = "VIRNUC_TEST_COMMAND"

SMALL = (
    "--num-sequences", "8", "--cooldown", "0", "--trial-seconds", "0", "--weights", "random", "--device", "cpu",
    "--num-workers", "0,1", "--prefetch-factor", "2", "--token-budget", "2048", "--buffer-size", "50",
)  # fmt: skip
"""Options of a sweep that takes seconds."""


@dataclass
class Finished:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The error in one sentence."""
        lines = [line for line in self.err.splitlines() if line.startswith("virnuc-profiler")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err, self.err
        return lines[0]


class Command:
    """Runs ``python -m virnuc_profiler``, or another `program` of Python's options, with these arguments.

    It starts with the signals `ignored`, as a shell or nohup would have it ignore them.
    """

    def __init__(
        self, *arguments, env=None, cwd=None, stdout=subprocess.PIPE, program=("-m", "virnuc_profiler"), ignored=()
    ):
        self.mark = str(uuid.uuid4())
        self.process = subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env={**os.environ, **(env or {}), MARK: self.mark},
            start_new_session=True,
            preexec_fn=(lambda: [signal.signal(number, signal.SIG_IGN) for number in ignored]) if ignored else None,
        )

    def finish(self, timeout=120) -> Finished:
        try:
            out, err = self.process.communicate(timeout=timeout)
        finally:
            with suppress(ProcessLookupError):
                if self.process.returncode is None:
                    os.killpg(self.process.pid, signal.SIGKILL)
        return Finished(self.process.returncode, out or "", err)

    def interrupt(self) -> None:
        """Press Ctrl-C: the terminal signals the whole process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def left_behind(self, within_s=10.0) -> list[str]:
        """Return the command lines of its processes that are still alive after `within_s`."""
        deadline = time.monotonic() + within_s
        while (left := self._alive()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def _alive(self) -> list[str]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                mine = process.environ().get(MARK) == self.mark
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
        return found


def run(*arguments, timeout=120, **options) -> Finished:
    """Run a command to its end and require that it leaves no process."""
    command = Command(*arguments, **options)
    finished = command.finish(timeout)
    assert command.left_behind() == []
    return finished


def wait_until(condition, within_s=60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
