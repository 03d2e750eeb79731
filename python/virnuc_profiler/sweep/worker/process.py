# SPDX-License-Identifier: MIT
"""Start a model process in its own session, exchange messages over two pipes, and end its whole process tree."""

from __future__ import annotations

import fcntl
import logging
import math
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.inference.loading.forkserver import SOCKET_FOLDER_VARIABLE, make_socket_folder
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.inference.loading.worker_processes import signal_name
from virnuc_profiler.sweep.worker.output_file import LAST_LINES, OutputFile
from virnuc_profiler.sweep.worker.process_tree import live_pids_in_session, live_pids_with_environment, reap_group
from virnuc_profiler.sweep.worker.protocol import MESSAGES, LineReader, Message, encode

STOP_TIMEOUT_S: Final = 10.0
"""Seconds to end after a stop request: workers end within 6 s, then the files are written."""

SIGTERM_TIMEOUT_S: Final = 2.0
"""Seconds to end after SIGTERM."""

SIGKILL_TIMEOUT_S: Final = 10.0
"""Seconds to end after SIGKILL, in which the driver frees the memory of a large model."""

_HELPERS_TIMEOUT_S: Final = 1.0
"""Seconds in which the forkserver and the resource tracker clean up and end after their parent has ended."""

_PIECE_BYTES: Final = 1 << 16
_POLL_INTERVAL_S: Final = 0.01

# The child gets our sys.path, so that it imports the same modules; before that, only sys, which no file can hide.
_START: Final = (
    "import sys; sys.path[:] = {path!r}; from importlib import import_module; "
    "import_module(sys.argv[1]).main(*sys.argv[2:])"
)

_TAG_VARIABLE: Final = "VIRNUC_PROFILER_MODEL_PROCESS"
"""Environment variable of the process and its descendants, which identifies them in any session."""

_log = logging.getLogger(__name__)


class ModelProcess:
    """A child process that holds a model.

    Args:
        module: Module whose ``main(requests, messages, parent_pid, log_level)`` the process runs.
        log_level: Level of the log records that the process sends.

    Attributes:
        pid: Process id, which is also the id of the process's session and group.
        said_hello: Whether the process has sent a message, and so has installed its signal handlers.
    """

    def __init__(self, module: str, log_level: int = logging.WARNING) -> None:
        self._output = OutputFile()
        self._output_path: Path | None = None
        # Ours and not the process's, because a process that is killed removes nothing.
        self._sockets = make_socket_folder()
        requests, self._requests = _pipe()
        self._messages, messages = _pipe()
        self._tag = f"{os.getpid()}-{secrets.token_hex(8)}"
        arguments = (module, requests, messages, os.getpid(), log_level)
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", _START.format(path=sys.path), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=self._output.descriptor,
                stderr=self._output.descriptor,
                pass_fds=(requests, messages),
                start_new_session=True,
                env={**os.environ, _TAG_VARIABLE: self._tag, SOCKET_FOLDER_VARIABLE: self._sockets},
            )
        except BaseException:
            os.close(self._requests)
            os.close(self._messages)
            self._output.close()
            shutil.rmtree(self._sockets, ignore_errors=True)
            raise
        finally:
            os.close(requests)
            os.close(messages)
        self.pid = self._popen.pid
        self._reader = LineReader(MESSAGES)
        self._pidfd = _open_pidfd(self.pid)
        self._poll = select.poll()
        for descriptor in (self._messages, self._pidfd):
            if descriptor is not None:
                self._poll.register(descriptor, select.POLLIN)
        self.said_hello = False
        self._stopped_by: str | None = None
        self._output_tail: list[str] = []
        self._closed = False

    def send(self, kind: str, **fields: Any) -> None:
        """Send a request. If the process has ended, the request is lost and :meth:`receive` returns None.

        Args:
            kind: Kind of the request.
            fields: JSON-serializable fields of the request.
        """
        with suppress(BrokenPipeError):
            line = memoryview(encode(kind, **fields))
            while line:
                line = line[os.write(self._requests, line) :]

    def receive(self, timeout_s: float | None) -> list[Message] | None:
        """Wait for messages, and keep the output file from filling the disk.

        Args:
            timeout_s: Longest time to wait, in seconds. None for no limit.

        Returns:
            The messages that have arrived, perhaps none. None if the process has ended or has closed its pipe.

        Raises:
            ProtocolError: The process sent a line that is no message.
        """
        self._output.shorten()
        ready = {found for found, _ in self._poll.poll(None if timeout_s is None else math.ceil(1000 * timeout_s))}
        if self._messages in ready:
            piece = os.read(self._messages, _PIECE_BYTES)
            return self._reader.feed(piece) if piece else None
        return None if ready else []  # dead, even if a process that it forked keeps the pipe open

    def has_ended(self) -> bool:
        """Whether the process is dead. Its process id stays reserved until :meth:`end` reaps it."""
        if self._popen.returncode is not None:
            return True
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # reaped by other code of this process
            return True

    def show_stacks(self) -> None:
        """Have the process print the stack of each thread, to see in :meth:`output_tail` where it hangs."""
        if not self.said_hello:  # without a handler, the signal would kill it
            return
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)
        time.sleep(0.2)

    def output_tail(self, count: int = LAST_LINES) -> list[str]:
        """Return the last lines that the process and its descendants have printed.

        Args:
            count: Number of lines; at most LAST_LINES once the process has been ended.
        """
        return self._output_tail if self._closed else self._output.last_lines(count)

    def keep_output(self, path: Path | None) -> None:
        """Append all that the process prints from now on to a file, when the output is taken or the process has ended.

        Args:
            path: File to append to; None to keep only the last lines.
        """
        self._output_path = path

    def take_output(self) -> list[str]:
        """Return the last lines of the output, and discard all output until now, except what a file is to keep."""
        if self._output_path is not None:
            self._output.append_to(self._output_path)
        return self._output.take()

    def end(self, *, ask: bool = True) -> dict[str, Any]:
        """End the process and its descendants: by a stop request, then SIGTERM, then SIGKILL. May be called again.

        Args:
            ask: Whether to send a stop request first, so that the process can write what it has measured.

        Returns:
            A dict with ``pid``, ``exit_code``, ``signal`` (name of the signal that killed the process), ``stopped_by``
            (``request``, ``SIGTERM``, ``SIGKILL``, or None if it ended by itself) and ``processes_left`` (ids of
            processes that survived SIGKILL).

        Raises:
            KeyboardInterrupt: A second Ctrl-C arrived. All processes are killed without further waiting.
        """
        left: list[int] = []
        try:
            if not self._closed:
                self._terminate(ask)
        finally:
            with deferred_interrupts():
                try:
                    left = self._kill_all()
                finally:
                    self._close()
        return {**self._exit_info(), "processes_left": left}

    def _terminate(self, ask: bool) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGCONT)  # a stopped process could neither answer nor end by itself
        if ask and not self.has_ended():
            self._stopped_by = "request"
            self.send("stop")
            self.wait(STOP_TIMEOUT_S)
        if not self.has_ended():
            self._stopped_by = "SIGTERM"
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGTERM)
            self.wait(SIGTERM_TIMEOUT_S)
        deadline = time.monotonic() + _HELPERS_TIMEOUT_S
        while self.has_ended() and live_pids_in_session(self.pid) and time.monotonic() < deadline:
            time.sleep(_POLL_INTERVAL_S)

    def wait(self, seconds: float) -> None:
        """Wait for the end of the process, and discard its messages meanwhile.

        Args:
            seconds: Longest time to wait.
        """
        deadline = time.monotonic() + seconds
        pipe = select.poll()
        pipe.register(self._messages, select.POLLIN)
        while not self.has_ended() and time.monotonic() < deadline:
            # A process that blocks on a full pipe would not end, so empty the pipe.
            if pipe.poll(1000 * _POLL_INTERVAL_S) and not os.read(self._messages, _PIECE_BYTES):
                pipe.unregister(self._messages)

    def _kill_all(self) -> list[int]:
        """Kill the process tree and reap it; return the ids of processes that survived.

        The process itself is reaped last, since its id keeps the id of the group from being reused.
        """
        if self._closed:
            return []
        if not self.has_ended():
            self._stopped_by = "SIGKILL"
        deadline = time.monotonic() + SIGKILL_TIMEOUT_S
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        killed = set()
        while (left := self._live_pids()) and time.monotonic() < deadline:
            killed.update(left)
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_POLL_INTERVAL_S)
        if left:
            _log.warning("processes survived SIGKILL: %s", ", ".join(map(str, left)))
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout=0.0 if self.pid in left else SIGKILL_TIMEOUT_S)
        reap_group(self.pid)
        for pid in killed:  # adopted processes in other groups
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return left

    def _live_pids(self) -> list[int]:
        """Return the ids of live processes in the process's session, and of its descendants in other sessions."""
        return list({*live_pids_in_session(self.pid), *live_pids_with_environment(f"{_TAG_VARIABLE}={self._tag}")})

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._output_tail = self._output.last_lines(LAST_LINES)
            if self._output_path is not None:
                self._output.append_to(self._output_path)
            self._output.close()
            shutil.rmtree(self._sockets, ignore_errors=True)
            for descriptor in (self._requests, self._messages, self._pidfd):
                if descriptor is not None:
                    os.close(descriptor)

    def _exit_info(self) -> dict[str, Any]:
        code = self._popen.returncode
        return {
            "pid": self.pid,
            "exit_code": None if code is None or code < 0 else code,
            "signal": signal_name(-code) if code is not None and code < 0 else None,
            "stopped_by": self._stopped_by,
        }


def _pipe() -> tuple[int, int]:
    """Create a pipe whose descriptors are above 2, so that they cannot collide with a child's standard streams.

    Returns:
        The read end and the write end.
    """
    ends = os.pipe()
    try:
        reading, writing = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in ends)
    finally:
        for end in ends:
            os.close(end)
    return reading, writing


def _open_pidfd(pid: int) -> int | None:
    """Open a pidfd, which becomes readable when the process ends; None if the system has none."""
    with suppress(AttributeError, OSError):
        return os.pidfd_open(pid)
    return None
