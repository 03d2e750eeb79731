# SPDX-License-Identifier: MIT
"""One model process: started in a session of its own, spoken to through two pipes, and ended with all its kin."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any, Final

from virnuc_profiler.inference.interrupts import deferred_interrupts
from virnuc_profiler.sweep.supervision.kinship import living_of_session, reap_group
from virnuc_profiler.sweep.supervision.output_file import OutputFile
from virnuc_profiler.sweep.supervision.protocol import MESSAGES, LineReader, Message, encode

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
    "import sys; sys.path[:] = sys.argv[1].split(':'); from importlib import import_module; "
    "import_module(sys.argv[2]).main(*sys.argv[3:])"
)

_log = logging.getLogger(__name__)


class ModelProcess:
    """A child process that holds a model.

    Args:
        module: whose ``main(requests, messages, parent_pid, log_level)`` it runs.
        log_level: of what it logs.

    Attributes:
        pid: its process id, and that of its session and group.
        greeted: whether it has said ``hello``, and so understands signals.
    """

    def __init__(self, module: str, log_level: int = logging.WARNING) -> None:
        with deferred_interrupts():  # Ctrl-C before it has a name would orphan it
            requests, self._requests = os.pipe()
            self._messages, messages = os.pipe()
            self._output = OutputFile()
            arguments = (module, requests, messages, os.getpid(), log_level)
            try:
                self._popen = subprocess.Popen(
                    [sys.executable, "-c", _START, ":".join(sys.path), *map(str, arguments)],
                    stdin=subprocess.DEVNULL,
                    stdout=self._output.descriptor,
                    stderr=self._output.descriptor,
                    pass_fds=(requests, messages),
                    start_new_session=True,
                )
            finally:
                os.close(requests)
                os.close(messages)
        self.pid = self._popen.pid
        self._reader = LineReader(MESSAGES)
        self.greeted = False
        self._ended_by: list[str] = []
        self._over = False

    def send(self, kind: str, **fields: Any) -> None:
        """Sends a request. To a process that has ended it is lost, which :meth:`receive` will tell."""
        with suppress(BrokenPipeError):
            line = memoryview(encode(kind, **fields))
            while line:
                line = line[os.write(self._requests, line) :]

    def receive(self, timeout_s: float | None) -> list[Message] | None:
        """What has come, at the latest after that time; None if nothing will come any more.

        Raises:
            ProtocolError: what came is no message.
        """
        if not select.select([self._messages], [], [], timeout_s)[0]:
            return []
        piece = os.read(self._messages, _PIECE_BYTES)
        return self._reader.feed(piece) if piece else None

    def has_ended(self) -> bool:
        """Whether it is dead; its process id stays taken until :meth:`end` reaps it."""
        if self._popen.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def show_stacks(self) -> None:
        """Has it print what each of its threads is doing, for :meth:`last_words`; of use while it hangs."""
        if not self.greeted:  # the signal would kill it
            return
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)
        time.sleep(0.2)

    def last_words(self) -> list[str]:
        """The last lines that it, or a process of its own, has printed."""
        return self._output.last_lines()

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
                left = self._kill_all()
                self._close()
        return {**self._fate(), "processes_left": left}

    def _end_in_peace(self, ask: bool) -> None:
        if ask and not self.has_ended():
            self._ended_by.append("request")
            self.send("stop")
            self._wait(ASKED_S)
        if not self.has_ended():
            self._ended_by.append("SIGTERM")
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGTERM)
            self._wait(TERMINATED_S)
        deadline = time.monotonic() + _KIN_S
        while self.has_ended() and living_of_session(self.pid) and time.monotonic() < deadline:
            time.sleep(_NAP_S)

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        open_pipe = True
        while not self.has_ended() and time.monotonic() < deadline:
            ready = select.select([self._messages] if open_pipe else [], [], [], _NAP_S)[0]
            if ready:  # read, for a process that cannot write does not end; nobody waits for it any more
                open_pipe = bool(os.read(self._messages, _PIECE_BYTES))

    def _kill_all(self) -> list[int]:
        """Kills what lives of the session; the process itself is reaped last, since its id names the group."""
        if self._over:
            return []
        if not self.has_ended():
            self._ended_by.append("SIGKILL")
        deadline = time.monotonic() + KILLED_S
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        while (left := living_of_session(self.pid)) and time.monotonic() < deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_NAP_S)
        if left:
            _log.warning("processes that not even SIGKILL ends: %s", ", ".join(map(str, left)))
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout=0.0 if self.pid in left else KILLED_S)
        reap_group(self.pid)
        return left

    def _close(self) -> None:
        if not self._over:
            self._over = True
            os.close(self._requests)
            os.close(self._messages)

    def _fate(self) -> dict[str, Any]:
        code = self._popen.returncode
        return {
            "pid": self.pid,
            "exit_code": None if code is None or code < 0 else code,
            "signal": _signal_name(-code) if code is not None and code < 0 else None,
            "stopped_by": self._ended_by[-1] if self._ended_by else None,
        }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
