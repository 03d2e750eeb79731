# SPDX-License-Identifier: MIT
"""One model process: started in a session of its own, spoken to through two pipes, and ended with all its kin."""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import re
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import Any, Final

from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.inference.loading.worker_processes import signal_name
from virnuc_profiler.sweep.worker.process_tree import live_pids_in_session, live_pids_with_environment, reap_group
from virnuc_profiler.sweep.worker.protocol import MESSAGES, LineReader, Message, encode

LAST_LINES: Final = 20
_LAST_BYTES: Final = 32_768
_MAX_BYTES: Final = 1 << 24
_MAX_LINE: Final = 400
_STACK_FRAME: Final = re.compile(r"\s*frame #\d+: ")
"""Of C++, as PyTorch prints them by the dozen: what was said before them matters more."""


class OutputFile:
    """Takes stdout and stderr of a process and its descendants. A pipe would block them when nobody reads."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="virnuc_profiler-output-", mode="w+b", buffering=0)  # noqa: SIM115
        self.descriptor = self._file.fileno()
        # Appending, so that whoever prints after take() does not leave a hole in front.
        flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, flags | os.O_APPEND)

    def last_lines(self, count: int) -> list[str]:
        """The last lines that say something."""
        text = self._tail().decode(errors="replace")
        told = [line for line in text.splitlines() if line.strip() and not _STACK_FRAME.match(line)]
        return [line.rstrip()[:_MAX_LINE] for line in told[-count:]]

    def take(self) -> list[str]:
        """The last lines, after which the file is empty again: it does not grow over the trials."""
        lines = self.last_lines(LAST_LINES)
        os.ftruncate(self.descriptor, 0)
        return lines

    def shorten(self) -> None:
        """Cuts off what nobody will read, if it has become much; a line printed at this moment may be lost with it."""
        if os.fstat(self.descriptor).st_size > _MAX_BYTES:
            tail = self._tail()
            os.ftruncate(self.descriptor, 0)
            self._file.write(tail)

    def _tail(self) -> bytes:
        size = os.fstat(self.descriptor).st_size
        start = max(0, size - _LAST_BYTES)
        return os.pread(self.descriptor, size - start, start)

    def close(self) -> None:
        """Lets it go; what still prints there prints into nothing."""
        self._file.close()


ASKED_S: Final = 10.0
"""For a process that was asked to end: ending workers takes up to 6 s, then what was measured is written."""

TERMINATED_S: Final = 2.0
KILLED_S: Final = 10.0
"""What the driver needs to give back the memory of a large model."""

_KIN_S: Final = 1.0
"""In which forkserver and resource tracker end by themselves after their process, and tidy up."""

_PIECE_BYTES: Final = 1 << 16
_NAP_S: Final = 0.01

# The child has our sys.path: whatever can be imported here can be there, and nothing else.
_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from importlib import import_module; "
    "import_module(sys.argv[2]).main(*sys.argv[3:])"
)

_MARK: Final = "VIRNUC_PROFILER_MODEL_PROCESS"
"""In the environment of the process and of all that it starts, by which they are known wherever they hang."""

_log = logging.getLogger(__name__)


class ModelProcess:
    """A child process that holds a model.

    Args:
        module: whose ``main(requests, messages, parent_pid, log_level)`` it runs.
        log_level: of what it logs.

    Attributes:
        pid: its process id, and that of its session and group.
        said_hello: whether it has said ``hello``, and so understands signals.
    """

    def __init__(self, module: str, log_level: int = logging.WARNING) -> None:
        self._output = OutputFile()
        requests, self._requests = _pipe()
        self._messages, messages = _pipe()
        self._mark = f"{os.getpid()}-{secrets.token_hex(8)}"
        arguments = (module, requests, messages, os.getpid(), log_level)
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=self._output.descriptor,
                stderr=self._output.descriptor,
                pass_fds=(requests, messages),
                start_new_session=True,
                env={**os.environ, _MARK: self._mark},
            )
        except BaseException:
            os.close(self._requests)
            os.close(self._messages)
            self._output.close()
            raise
        finally:
            os.close(requests)
            os.close(messages)
        self.pid = self._popen.pid
        self._reader = LineReader(MESSAGES)
        self._death = _death_of(self.pid)
        self._poll = select.poll()
        for descriptor in (self._messages, self._death):
            if descriptor is not None:
                self._poll.register(descriptor, select.POLLIN)
        self.said_hello = False
        self._ended_by: list[str] = []
        self._output_tail: list[str] = []
        self._over = False

    def send(self, kind: str, **fields: Any) -> None:
        """Sends a request. To a process that has ended it is lost, which :meth:`receive` will tell."""
        with suppress(BrokenPipeError):
            line = memoryview(encode(kind, **fields))
            while line:
                line = line[os.write(self._requests, line) :]

    def receive(self, timeout_s: float | None) -> list[Message] | None:
        """What has come, at the latest after that time; None if nothing will come any more.

        A process that prints without end does not fill the disk as long as this is called.

        Raises:
            ProtocolError: what came is no message.
        """
        self._output.shorten()
        ready = {found for found, _ in self._poll.poll(None if timeout_s is None else math.ceil(1000 * timeout_s))}
        if self._messages in ready:
            piece = os.read(self._messages, _PIECE_BYTES)
            return self._reader.feed(piece) if piece else None
        return None if ready else []  # it is dead, though a process that it forked may hold the pipe open

    def has_ended(self) -> bool:
        """Whether it is dead; its process id stays taken until :meth:`end` reaps it."""
        if self._popen.returncode is not None:
            return True
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # somebody has reaped it
            return True

    def show_stacks(self) -> None:
        """Has it print what each of its threads is doing, for :meth:`output_tail`; of use while it hangs."""
        if not self.said_hello:  # the signal would kill it
            return
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)
        time.sleep(0.2)

    def output_tail(self, count: int = LAST_LINES) -> list[str]:
        """The last lines that it, or a process of its own, has printed; a few once it has ended."""
        return self._output_tail if self._over else self._output.last_lines(count)

    def take_output(self) -> list[str]:
        """The same, after which it is forgotten."""
        return self._output.take()

    def end(self, *, ask: bool = True) -> dict[str, Any]:
        """Ends it and all processes of its session, and reaps them: asks, terminates, kills. May be called again.

        Args:
            ask: whether it is asked first, so that it can write what it has measured.

        Returns:
            What became of it: ``pid``, ``exit_code``, ``signal`` (its name, if one killed it), ``stopped_by`` (what it
            took) and ``processes_left`` (pids that not even SIGKILL has ended).

        Raises:
            KeyboardInterrupt: passed on, once all are killed: a second Ctrl-C does not wait for anybody.
        """
        left: list[int] = []
        try:
            if not self._over:
                self._end_in_peace(ask)
        finally:
            with deferred_interrupts():
                try:
                    left = self._kill_all()
                finally:
                    self._close()
        return {**self._fate(), "processes_left": left}

    def _end_in_peace(self, ask: bool) -> None:
        if ask and not self.has_ended():
            self._ended_by.append("request")
            self.send("stop")
            self.wait(ASKED_S)
        if not self.has_ended():
            self._ended_by.append("SIGTERM")
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGTERM)
            self.wait(TERMINATED_S)
        deadline = time.monotonic() + _KIN_S
        while self.has_ended() and live_pids_in_session(self.pid) and time.monotonic() < deadline:
            time.sleep(_NAP_S)

    def wait(self, seconds: float) -> None:
        """Waits for its end, at most so long. What it still says is lost."""
        deadline = time.monotonic() + seconds
        pipe = select.poll()
        pipe.register(self._messages, select.POLLIN)
        while not self.has_ended() and time.monotonic() < deadline:
            # Read, for a process that cannot write does not end; nobody waits for it any more.
            if pipe.poll(1000 * _NAP_S) and not os.read(self._messages, _PIECE_BYTES):
                pipe.unregister(self._messages)

    def _kill_all(self) -> list[int]:
        """Kills what lives of the session; the process itself is reaped last, since its id names the group."""
        if self._over:
            return []
        if not self.has_ended():
            self._ended_by.append("SIGKILL")
        deadline = time.monotonic() + KILLED_S
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        strays = set()
        while (left := self._kin()) and time.monotonic() < deadline:
            strays.update(left)
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_NAP_S)
        if left:
            _log.warning("processes that not even SIGKILL ends: %s", ", ".join(map(str, left)))
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout=0.0 if self.pid in left else KILLED_S)
        reap_group(self.pid)
        for pid in strays:  # those with a group of their own, which this process has adopted
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return left

    def _kin(self) -> list[int]:
        """What lives of its session, and what it has started in other sessions."""
        return list({*live_pids_in_session(self.pid), *live_pids_with_environment(f"{_MARK}={self._mark}")})

    def _close(self) -> None:
        if not self._over:
            self._over = True
            self._output_tail = self._output.last_lines(LAST_LINES)
            self._output.close()
            for descriptor in (self._requests, self._messages, self._death):
                if descriptor is not None:
                    os.close(descriptor)

    def _fate(self) -> dict[str, Any]:
        code = self._popen.returncode
        return {
            "pid": self.pid,
            "exit_code": None if code is None or code < 0 else code,
            "signal": signal_name(-code) if code is not None and code < 0 else None,
            "stopped_by": self._ended_by[-1] if self._ended_by else None,
        }


def _pipe() -> tuple[int, int]:
    """A pipe, for reading and for writing, that no standard stream of a child can take the place of."""
    ends = os.pipe()
    try:
        reading, writing = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in ends)
    finally:
        for end in ends:
            os.close(end)
    return reading, writing


def _death_of(pid: int) -> int | None:
    """A descriptor that can be read once the process has ended; None where the system has no such thing."""
    with suppress(AttributeError, OSError):
        return os.pidfd_open(pid)
    return None
