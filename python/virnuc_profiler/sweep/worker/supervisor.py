# SPDX-License-Identifier: MIT
"""Send requests to the model process, watch their deadlines, and end a process that hangs or crashes."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from virnuc_profiler.inference.loading.environment import environment_failure
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.inference.loading.running_time import RunningClock, stopped_in_tree
from virnuc_profiler.sweep.machine.oom_kills import oom_kills, oom_kills_since
from virnuc_profiler.sweep.plan.request import DeviceName, ModelKnobs
from virnuc_profiler.sweep.trial.loaded_model import LiveFigures
from virnuc_profiler.sweep.worker.deadlines import Timeouts, Watchdog
from virnuc_profiler.sweep.worker.outcomes import ProcessLost, crash_error, timeout_error
from virnuc_profiler.sweep.worker.process import ModelProcess
from virnuc_profiler.sweep.worker.process_tree import is_subreaper, set_subreaper
from virnuc_profiler.sweep.worker.protocol import Message, ProtocolError, error_from_message
from virnuc_profiler.targets.contract import TargetOptions
from virnuc_profiler.targets.knobs.target_facts import TargetFacts
from virnuc_profiler.telemetry.records import GpuReading

CHILD_MODULE: Final = "virnuc_profiler.sweep.worker.child"

_STACK_LINES: Final = 100
"""Lines of stacks to keep of a hung process. The main thread comes last, with its innermost frames first."""

_EXIT_TIMEOUT_S: Final = 1.0
"""Seconds that a process gets to end after it has closed its pipe, so that its own exit code or signal is reported."""

_log = logging.getLogger(__name__)


class Supervisor:
    """Manages at most one model process, and starts it when a request needs one.

    Use a supervisor in one thread only, which must outlive it: the kernel kills the process when that thread ends.

    Args:
        limits: Time limits of the process.
        child_module: Module that the process runs. Tests replace it.

    Attributes:
        figures: What the trial that runs now, or ran last, has recorded.
    """

    def __init__(self, limits: Timeouts, child_module: str = CHILD_MODULE) -> None:
        self.limits = limits
        self._child_module = child_module
        self.figures = LiveFigures()
        self._process: ModelProcess | None = None
        self._logged: set[str] = set()
        self._known_stopped: set[int] = set()
        self._was_subreaper = is_subreaper()
        set_subreaper(True)
        self._ignored_sigchld = _stop_ignoring_sigchld()

    @property
    def pid(self) -> int | None:
        """Process id of the model process, or None without a process."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start a process unless one is alive. It imports PyTorch while the caller does something else.

        Raises:
            EnvironmentFailure: The machine lets no process start.
        """
        if self._process is not None and self._process.has_ended():
            _log.warning("the model's process died while idle; a new one is started")
            self._end(ask=False)
        with deferred_interrupts():  # Ctrl-C before the assignment would leave an orphan
            if self._process is None:
                level = logging.getLogger("virnuc_profiler").getEffectiveLevel()
                try:
                    self._process = ModelProcess(self._child_module, level)
                except OSError as error:
                    raise environment_failure(error) or error from None

    def resolve_device(self, device: str, knobs: ModelKnobs) -> DeviceName:
        """Resolve a device name in the model process, and check that the device can compute with the model's knobs.

        Args:
            device: Name of the device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            knobs: Values of the model's knobs that will be used.

        Raises:
            UsageError: The device does not exist, or cannot compute with one of the values.
            VirnucError: The process died or did not answer.
        """
        if device == "cpu" and set(knobs.get("precision", ())) <= {None, "fp32", "bf16"}:
            return DeviceName("cpu")  # needs no process to tell
        watchdog = Watchdog(start_s=self.limits.start_s)
        values = {name: list(chosen) for name, chosen in knobs.items()}
        return DeviceName.parse(self.ask("device", watchdog, "resolve_device", device=device, knobs=values)["device"])

    def facts_of_target(self, name: str, options: TargetOptions) -> TargetFacts:
        """Make a target in the model process, which keeps it for the model to come, and return what it is tuned by.

        Args:
            name: Target as the user names it.
            options: Options of its factory.

        Raises:
            UsageError: There is no such target, its package is missing, or it does not keep the contract.
            VirnucError: It could not be made, or the process died or did not answer.
        """
        watchdog = Watchdog(start_s=self.limits.start_s)
        return TargetFacts.from_json(self.ask("knobs", watchdog, "target", target=name, options=asdict(options)))

    def ask(
        self,
        answer: str,
        watchdog: Watchdog,
        kind: str,
        on_progress: Callable[[int], None] | None = None,
        on_tokens: Callable[[int], None] | None = None,
        *,
        ask_to_stop: bool = False,
        output: Path | None = None,
        **fields: Any,
    ) -> Message:
        """Send a request and wait for its answer.

        Time in which this process, the model process or one of its workers is stopped does not count.

        Args:
            answer: Kind of the message that answers the request.
            watchdog: Deadlines of the request.
            kind: Kind of the request.
            on_progress: Function to call with the number of finished sequences, or None.
            on_tokens: Function to call with the number of their tokens, or None.
            ask_to_stop: Whether a process that must end gets a stop request first, so that it can write its files.
            output: File to which all is appended that the process prints meanwhile; None to keep the last lines only.
            fields: JSON-serializable fields of the request.

        Raises:
            ProcessLost: The process died. It is reaped, and the next request starts a new one.
            ProcessTimeout: A deadline expired, and the process was ended.
            KeyboardInterrupt: Ctrl-C was pressed, and the process was ended; a second Ctrl-C kills it at once.
            Exception: The process answered with this error, and continues to run.
        """
        self.start()
        assert self._process is not None
        process, kills_before = self._process, oom_kills()
        clock = RunningClock(lambda: stopped_in_tree(process.pid))
        watchdog.use_clock(clock)
        reply: Message | None = None
        process.keep_output(output)
        try:
            process.send(kind, **fields)
            while reply is None:
                messages = process.receive(watchdog.poll_s())
                self._warn_of_stopped(clock.stopped_pids)
                if messages is None:
                    raise self._lost(process, kills_before)
                if not messages and (expired := watchdog.expired()) is not None:
                    process.show_stacks()
                    output_tail = process.output_tail(_STACK_LINES)
                    raise timeout_error(expired, self._end(ask=ask_to_stop), output_tail)
                for message in messages:
                    watchdog.reset_progress()
                    process.said_hello = True
                    if message["kind"] in (answer, "failed"):
                        reply = message
                    else:
                        if message["kind"] == "progress" and not message["sequences"]:
                            watchdog.start_measuring()
                        self._handle(message, on_progress, on_tokens)
        except ProtocolError as error:
            raise ProcessLost(f"the model's process was ended: it sent {error}", self._end(ask=False)) from None
        finally:
            if reply is None:  # the process is still busy with this request, and cannot serve another
                self._end(ask=ask_to_stop)
        for line in process.take_output():
            _log.debug("the model's process printed: %s", line)
        if reply["kind"] == "failed":
            _log.debug("the model's process failed:\n%s", reply.get("trace"))
            raise error_from_message(reply)
        return reply

    def replace(self, reason: str) -> None:
        """End the process; the next request starts a new one.

        Args:
            reason: Reason to log.
        """
        _log.info("the model's process is replaced: %s", reason)
        self._end(ask=True)

    def close(self) -> None:
        """End the process, if there is one, and restore this process's settings. May be called again."""
        try:
            self._end(ask=True)
        finally:
            set_subreaper(self._was_subreaper)
            if self._ignored_sigchld:
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _warn_of_stopped(self, pids: Collection[int]) -> None:
        """Warn once of each stopped process, since nothing ends the wait for it except a signal or the user."""
        for pid in set(pids) - self._known_stopped:
            _log.warning(
                "process %d of the model is stopped, which does not count towards limits: kill -CONT %d continues it",
                pid, pid,
            )  # fmt: skip
        self._known_stopped = set(pids)

    def _lost(self, process: ModelProcess, kills_before: Mapping[str, int]) -> ProcessLost:
        process.wait(_EXIT_TIMEOUT_S)
        exit_info = self._end(ask=False)
        return crash_error(exit_info, process.output_tail(), oom_kills_since(kills_before))

    def _end(self, *, ask: bool) -> dict[str, Any]:
        process = self._process
        if process is None:
            return {}
        try:
            return process.end(ask=ask)
        finally:
            self._process = None

    def _note_figures(self, message: Message) -> None:
        """Keep what a progress message says besides the counts; one of another form says nothing."""
        if not message["sequences"]:
            self.figures = LiveFigures()
            return
        with suppress(TypeError):
            gpu = GpuReading(**message["gpu"]) if message.get("gpu") else self.figures.gpu
            self.figures = LiveFigures(message.get("batches"), gpu)

    def _handle(
        self,
        message: Message,
        on_progress: Callable[[int], None] | None,
        on_tokens: Callable[[int], None] | None,
    ) -> None:
        if message["kind"] == "progress":
            self._note_figures(message)
            if on_tokens is not None and message.get("tokens"):
                on_tokens(message["tokens"])
            if on_progress is not None:
                on_progress(message["sequences"])
        elif message["kind"] == "log" and not (message["level"] >= logging.WARNING and message["text"] in self._logged):
            self._logged.add(message["text"])  # each new process repeats the warnings on the model and the sequences
            logging.getLogger("virnuc_profiler").log(message["level"], "%s", message["text"])


def _stop_ignoring_sigchld() -> bool:
    """Stop ignoring SIGCHLD, since the kernel discards the exit codes of children while it is ignored.

    Returns:
        Whether this process ignored the signal, a setting that some service managers and shells pass on.
    """
    ignored = signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
    if not ignored or threading.current_thread() is not threading.main_thread():
        return False
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return True
