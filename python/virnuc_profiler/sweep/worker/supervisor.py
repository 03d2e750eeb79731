# SPDX-License-Identifier: MIT
"""Asks the model process, watches the clock meanwhile, and ends it when it must be."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final

from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.sweep.machine.oom_kills import oom_kills, oom_kills_since
from virnuc_profiler.sweep.plan.request import DeviceName, ModelKnobs
from virnuc_profiler.sweep.worker.deadlines import Limits, Watch
from virnuc_profiler.sweep.worker.outcomes import ProcessLost, late, lost
from virnuc_profiler.sweep.worker.process import ModelProcess
from virnuc_profiler.sweep.worker.process_tree import adopt_orphans, adopts_orphans
from virnuc_profiler.sweep.worker.protocol import Message, ProtocolError, error_from

CHILD_MODULE: Final = "virnuc_profiler.sweep.worker.child"

_STACK_LINES: Final = 100
"""Of a hung process: the innermost frames of each thread come first, those of the main thread last of all."""

_DIES_S: Final = 1.0
"""In which a process that has closed its pipe is dead, so that it need not be killed, and can say how it ended."""

_log = logging.getLogger(__name__)


class Supervisor:
    """Has at most one model process at a time, and starts another when it is asked something and there is none.

    It must be used in one thread, which must live as long as it: the kernel ends the process with that thread.

    Args:
        limits: how long things may take.
        child_module: what the process runs; a test has its own.
    """

    def __init__(self, limits: Limits, child_module: str = CHILD_MODULE) -> None:
        self.limits = limits
        self._child_module = child_module
        self._process: ModelProcess | None = None
        self._said: set[str] = set()
        self._adopted_before = adopts_orphans()
        adopt_orphans(True)
        self._ignored_children = _heed_children()

    @property
    def pid(self) -> int | None:
        """Of the process; None if there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Starts a process if there is none that lives: it imports PyTorch while the caller does something else."""
        if self._process is not None and self._process.has_ended():
            _log.warning("the model's process has died while it had nothing to do; another is started")
            self._end(ask=False)
        with deferred_interrupts():  # Ctrl-C before it has a name would orphan it
            if self._process is None:
                level = logging.getLogger("virnuc_profiler").getEffectiveLevel()
                self._process = ModelProcess(self._child_module, level)

    def resolve_device(self, device: str, knobs: ModelKnobs) -> DeviceName:
        """Resolve a device, and check that it can compute with the model's knobs.

        Args:
            device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            knobs: Values of the model's knobs that will be used.

        Raises:
            UsageError: The device is not there, or cannot compute with one of the values.
            VirnucError: The process could not be asked.
        """
        if device == "cpu" and set(knobs.get("precision", ())) <= {None, "fp32", "bf16"}:
            return DeviceName("cpu")  # needs no process to tell
        watch = Watch(start_s=self.limits.start_s)
        values = {name: list(chosen) for name, chosen in knobs.items()}
        return DeviceName.parse(self.ask("device", watch, "resolve_device", device=device, knobs=values)["device"])

    def ask(
        self,
        answer: str,
        watch: Watch,
        kind: str,
        on_progress: Callable[[int], None] | None = None,
        *,
        ask_to_stop: bool = False,
        **fields: Any,
    ) -> Message:
        """Sends a request and waits for its answer.

        Args:
            answer: the kind of message that answers it.
            watch: the deadlines.
            kind: of the request.
            on_progress: is called with the sequences that are done.
            ask_to_stop: whether a process that must be ended is asked first, so that it can write what it has.
            fields: of the request.

        Raises:
            ProcessLost: the process died; it is reaped, and the next question starts another.
            DeadlinePassed: a deadline passed; the process was ended.
            KeyboardInterrupt: the process was ended; at once, if another one comes meanwhile.
            Exception: the process's own answer is an error; it goes on.
        """
        self.start()
        assert self._process is not None
        process, kills_before = self._process, oom_kills()
        reply: Message | None = None
        try:
            process.send(kind, **fields)
            while reply is None:
                messages = process.receive(watch.left_s())
                if messages is None:
                    raise self._lost(process, kills_before)
                if not messages and (passed := watch.passed()) is not None:
                    process.show_stacks()
                    last_words = process.last_words(_STACK_LINES)
                    raise late(passed, self._end(ask=ask_to_stop), last_words)
                for message in messages:
                    watch.heard()
                    process.greeted = True
                    if message["kind"] in (answer, "failed"):
                        reply = message
                    else:
                        if message["kind"] == "progress" and not message["sequences"]:
                            watch.begun()
                        self._note(message, on_progress)
        except ProtocolError as error:
            raise ProcessLost(f"the model's process was ended: it sent {error}", self._end(ask=False)) from None
        finally:
            if reply is None:  # it is still busy with this, and must not be asked anything else
                self._end(ask=ask_to_stop)
        for line in process.take_output():
            _log.debug("the model's process printed: %s", line)
        if reply["kind"] == "failed":
            _log.debug("the model's process failed:\n%s", reply.get("trace"))
            raise error_from(reply)
        return reply

    def replace(self, reason: str) -> None:
        """Ends the process; the next question starts another."""
        _log.info("the model's process is replaced: %s", reason)
        self._end(ask=True)

    def close(self) -> None:
        """Ends the process, if there is one; may be called again."""
        try:
            self._end(ask=True)
        finally:
            adopt_orphans(self._adopted_before)
            if self._ignored_children:
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lost(self, process: ModelProcess, kills_before: Mapping[str, int]) -> ProcessLost:
        process.wait(_DIES_S)
        fate = self._end(ask=False)
        return lost(fate, process.last_words(), oom_kills_since(kills_before))

    def _end(self, *, ask: bool) -> dict[str, Any]:
        process = self._process
        if process is None:
            return {}
        try:
            return process.end(ask=ask)
        finally:
            self._process = None

    def _note(self, message: Message, on_progress: Callable[[int], None] | None) -> None:
        if message["kind"] == "progress" and on_progress is not None:
            on_progress(message["sequences"])
        elif message["kind"] == "log" and not (message["level"] >= logging.WARNING and message["text"] in self._said):
            self._said.add(message["text"])  # each new process would say the same of the model and the sequences
            logging.getLogger("virnuc_profiler").log(message["level"], "%s", message["text"])


def _heed_children() -> bool:
    """Has the kernel keep the exit codes of children, which it throws away if a parent ignores SIGCHLD.

    Returns whether this process did, as service managers and shells may have it.
    """
    ignored = signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
    if not ignored or threading.current_thread() is not threading.main_thread():
        return False
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return True
