# SPDX-License-Identifier: MIT
"""Start the ranks of a job on this host, pass on what they print, and see to their end."""

from __future__ import annotations

import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, Final, TextIO

from virnuc_profiler.ranks.rank_status import STATUS_VARIABLE, read_states
from virnuc_profiler.ranks.rank_variables import rank_environment

LAUNCHER_VARIABLE: Final = "VIRNUC_PROFILER_LAUNCHER_PID"
"""Process id of the launcher, with which its ranks end."""

MAX_RESTARTS: Final = 3
"""How often a rank that was killed is started again; a sequence that kills every rank must not do so without end."""

STOP_S: Final = 60.0
"""Time for ranks to end after a stop signal, in seconds; then they are killed."""

_LAST_LINES_S: Final = 2.0

Environments = Sequence[Mapping[str, str]]

OnState = Callable[[int, Mapping[str, Any] | None], None]
"""Takes the number of a rank and the state that it tells; None once it has ended."""


def run_ranks(
    command: Sequence[str],
    environments: Environments,
    *,
    say: Callable[[str], None],
    max_restarts: int = MAX_RESTARTS,
    stop_s: float = STOP_S,
    on_state: OnState | None = None,
) -> list[int]:
    """Run a command once for each rank at the same time, and return when all have ended.

    A rank that a signal has killed, as the kernel does when memory is short, is started again; the others go on
    meanwhile. A rank that ends with an error has said why, and would end so again. Ctrl-C and SIGTERM are passed on
    once.

    Args:
        command: Command line of every rank.
        environments: Variables that each rank gets on top of those of this process.
        say: Prints a sentence on what happens to a rank.
        max_restarts: How often each rank is started again.
        stop_s: Seconds for ranks to end after a stop signal.
        on_state: Takes the state of each rank, from threads; None if nothing shows it.

    Returns:
        The exit code of each rank; a negative one is the number of the signal that killed it.

    Raises:
        KeyboardInterrupt: A stop signal has arrived, and all ranks have ended.
    """
    ranks = _Ranks(command, environments, say, max_restarts, on_state)
    try:
        ranks.run()
    except BaseException as stop:
        ranks.stop(signal.SIGTERM if str(stop) else signal.SIGINT, stop_s)
        raise
    return ranks.codes


class _Ranks:
    """The processes of all ranks, and the threads that wait for them and read from them."""

    def __init__(
        self,
        command: Sequence[str],
        environments: Environments,
        say: Callable[[str], None],
        max_restarts: int,
        on_state: OnState | None,
    ) -> None:
        self._command = list(command)
        self._environments = environments
        self._say = say
        self._max_restarts = max_restarts
        self._on_state = on_state
        self._job = secrets.token_hex(8)
        self._attempts = [0] * len(environments)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._printing = threading.Lock()
        self.codes = [0] * len(environments)

    def run(self) -> None:
        """Run all ranks to their end."""
        for index in range(len(self._environments)):
            self._start(index)
        while self._processes:
            index = self._ended.get()
            code = self.codes[index] = self._processes.pop(index).returncode
            if code >= 0:
                if code:
                    self._say(f"rank {index} ended with exit code {code}; {self._others()}")
            elif self._attempts[index] < self._max_restarts:
                self._attempts[index] += 1
                self._say(f"rank {index} was killed by {signal_name(-code)}, and is started again")
                self._start(index)
            else:
                self._say(f"rank {index} was killed by {signal_name(-code)} again; {self._others()}")

    def stop(self, number: int, stop_s: float) -> None:
        """Pass a stop signal on, and wait until all ranks have ended; a second signal kills them at once.

        Args:
            number: Number of the signal.
            stop_s: Seconds after which they are killed.
        """
        deadline = time.monotonic() + stop_s
        self._signal(number)
        try:
            while self._processes:
                with suppress(queue.Empty):
                    self._processes.pop(self._ended.get(timeout=max(0.0, deadline - time.monotonic())))
                    continue
                break
        finally:
            self._signal(signal.SIGKILL)
            for process in self._processes.values():
                process.wait()

    def _others(self) -> str:
        left = len(self._processes)
        return "no rank is left" if not left else f"{left} other{'s go' if left > 1 else ' goes'} on"

    def _start(self, index: int) -> None:
        own = {
            **rank_environment(index, len(self._environments), self._job, self._attempts[index]),
            LAUNCHER_VARIABLE: str(os.getpid()),
        }
        told, tells = (None, None) if self._on_state is None else os.pipe()
        if tells is not None:
            own[STATUS_VARIABLE] = str(tells)
        try:
            process = subprocess.Popen(
                self._command,
                env={**os.environ, **self._environments[index], **own},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # a terminal's Ctrl-C reaches this process alone, which passes it on
                pass_fds=() if tells is None else (tells,),
            )
        except BaseException:
            if told is not None:
                os.close(told)
            raise
        finally:
            if tells is not None:
                os.close(tells)
        self._processes[index] = process
        if told is not None:
            threading.Thread(target=self._pass_state_on, args=(index, told), name=f"state {index}", daemon=True).start()
        threading.Thread(target=self._watch, args=(index, process), name=f"rank {index}", daemon=True).start()

    def _watch(self, index: int, process: subprocess.Popen[bytes]) -> None:
        """Pass on what a rank prints until it has ended."""
        assert process.stdout is not None
        assert process.stderr is not None
        readers = [
            threading.Thread(target=self._pass_on, args=(index, *pipes), daemon=True)
            for pipes in ((process.stdout, sys.stdout), (process.stderr, sys.stderr))
        ]
        for reader in readers:
            reader.start()
        process.wait()
        deadline = time.monotonic() + _LAST_LINES_S
        for reader in readers:  # a process that a killed rank has left may keep its pipes open
            reader.join(max(0.0, deadline - time.monotonic()))
        self._ended.put(index)

    def _pass_on(self, index: int, pipe: IO[bytes], stream: TextIO) -> None:
        with pipe:
            for line in pipe:
                text = line.decode(errors="replace").rstrip("\r\n")
                with self._printing, suppress(OSError, ValueError):  # a reader that has left must not stop the ranks
                    stream.write(f"[rank {index}] {text}\n" if text else "\n")
                    stream.flush()

    def _pass_state_on(self, index: int, descriptor: int) -> None:
        assert self._on_state is not None
        for state in read_states(descriptor):
            self._on_state(index, state)
        self._on_state(index, None)

    def _signal(self, number: int) -> None:
        for process in list(self._processes.values()):
            with suppress(ProcessLookupError):
                process.send_signal(number)


def signal_name(number: int) -> str:
    """Return the name of a signal, such as ``SIGKILL``.

    Args:
        number: Number of the signal.
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
