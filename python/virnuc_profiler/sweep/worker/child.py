# SPDX-License-Identifier: MIT
"""The model process: load the model once, and answer one request after the other until the supervisor says stop."""

from __future__ import annotations

import faulthandler
import logging
import os
import queue
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.inference.loading.forkserver import start_forkserver
from virnuc_profiler.sweep.plan.request import ModelKnobs, Request
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.trial.loaded_model import LoadedModel
from virnuc_profiler.sweep.worker.group_guard import start_group_guard
from virnuc_profiler.sweep.worker.message_writer import LogMessages, MessageWriter, ProgressMessages
from virnuc_profiler.sweep.worker.process_tree import die_with_parent, kill_own_group, live_pids_in_session
from virnuc_profiler.sweep.worker.protocol import REQUESTS, LineReader, Message, describe_error
from virnuc_profiler.targets.contract import TargetOptions
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, BUILTIN_TARGET, Configuration, KnobSet

if TYPE_CHECKING:
    from virnuc_profiler.targets.loaded_target import LoadedTarget

_PRELOADED: Final = ["virnuc_profiler.sweep.worker.forkserver_guard", "virnuc_profiler.inference.loading.worker"]
"""In this order: the second import takes seconds, and the forkserver must be guarded meanwhile."""

MakeModel = Callable[[Request], LoadedModel]


def main(requests: str, messages: str, parent_pid: str, log_level: str, make_model: MakeModel | None = None) -> None:
    """Serve requests until the supervisor says stop. The arguments come from a command line.

    Args:
        requests: File descriptor of the pipe that delivers requests.
        messages: File descriptor of the pipe that takes messages.
        parent_pid: Process id of the supervisor.
        log_level: Level of the log records to send.
        make_model: Function that loads the model. None loads a :class:`MeasuredModel`, or a :class:`MeasuredTarget`
            for any other target than the built-in one.
    """
    die_with_parent(int(parent_pid))
    for descriptor in (int(requests), int(messages)):
        os.set_inheritable(descriptor, False)  # a worker that kept the pipes open would hide the end of this process
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs inherit an ignored SIGINT
    writer = MessageWriter(int(messages))
    logger = logging.getLogger("virnuc_profiler")
    logger.setLevel(int(log_level))
    logger.addHandler(LogMessages(writer))
    service = Service(writer, make_model, partial(start_group_guard, int(requests)))
    threading.Thread(target=service.listen, args=(int(requests),), name="requests", daemon=True).start()
    writer.send("hello", pid=os.getpid())
    with suppress(KeyboardInterrupt):  # the stop request arrived between two requests
        service.serve()


class Service:
    """Answers requests with a model that is loaded once.

    Args:
        writer: Writer of the answers.
        make_model: Function that loads the model; None for that of the target.
        start_guard: Function that starts a guard of the processes that a target starts.
    """

    def __init__(self, writer: MessageWriter, make_model: MakeModel | None, start_guard: Callable[[], object]) -> None:
        self._writer = writer
        self._start_guard = start_guard
        self._guard: object = None
        self._make_model = make_model or self._measured
        self._targets = IdleTarget()
        self._model: LoadedModel | None = None
        self._pending: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._forkserver_started = False
        self._busy = threading.Lock()

    def listen(self, descriptor: int) -> None:
        """Read requests in a thread of its own, which notices at once when the supervisor ends or requests a stop.

        Args:
            descriptor: File descriptor of the pipe that delivers requests.
        """
        reader = LineReader(REQUESTS)
        while piece := os.read(descriptor, 1 << 16):
            for message in reader.feed(piece):
                if message["kind"] == "stop":
                    self._pending.put(None)
                    if self._busy.locked():  # an idle main thread ends by itself, without an interrupt
                        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                else:
                    self._pending.put(message)
        kill_own_group()

    def serve(self) -> None:
        """Answer one request after the other until the supervisor says stop."""
        while (message := self._pending.get()) is not None:
            with self._busy:
                self._serve_one(message)

    def _serve_one(self, message: Message) -> None:
        try:
            answer, fields = self._answer(message)
            self._writer.send(answer, **fields)
        except KeyboardInterrupt:
            self._writer.send("interrupted")
            raise
        except Exception as error:  # includes an answer that cannot be encoded
            self._writer.send("failed", **describe_error(error))

    def _answer(self, message: Message) -> tuple[str, dict[str, Any]]:
        if message["kind"] == "resolve_device":
            return "device", {"device": _resolve_device(message["device"], message["knobs"])}
        if message["kind"] == "target":
            self._guard = self._guard or self._start_guard()
            options = TargetOptions(**message["options"])
            return "knobs", self._targets.made(message["target"], options).facts()
        if message["kind"] == "load":
            if self._model is not None:  # two models may not fit the device
                self._model.close()
                self._model = None
            self._model = self._make_model(Request.from_json(message["request"]))
            return "loaded", _introduction(self._model)
        if self._model is None:
            raise RuntimeError(f"a {message['kind']!r} request came before the model was loaded")
        workload = Workload.from_json(message["workload"])
        if message["kind"] == "warm_up":
            if self._knobs().is_builtin:
                self._start_forkserver(message["num_workers"])
            self._model.warm_up(workload, message["num_workers"])
            return "warmed_up", {}
        configuration = Configuration.from_json(message["configuration"], self._knobs())
        if message["kind"] == "predict":
            predicted = self._model.predicted_failure(workload, configuration)
            return "predicted", {"result": None if predicted is None else predicted.to_json()}
        if configuration.knobs.is_builtin:  # another target starts its workers in its own way
            self._start_forkserver(configuration.num_workers)
        progress = ProgressMessages(self._writer)
        folder = Path(message["output_dir"])
        result = self._model.run_trial(
            workload, configuration, folder, progress, progress.count_tokens, brief=message["brief"]
        )
        return "result", {"result": result.to_json(), "resources": _resources(self._model)}

    def _knobs(self) -> KnobSet:
        """Return the knobs of the target that is loaded."""
        knobs: KnobSet = getattr(self._model, "knobs", BUILTIN_KNOBS)
        return knobs

    def _measured(self, request: Request) -> LoadedModel:
        if request.target == BUILTIN_TARGET:
            from virnuc_profiler.sweep.trial.measured_model import MeasuredModel

            return MeasuredModel(request)
        from virnuc_profiler.sweep.trial.measured_target import MeasuredTarget

        self._guard = self._guard or self._start_guard()
        target = self._targets.taken(request.target, request.target_options())
        return MeasuredTarget(request, target=target, keep_output=False)

    def _start_forkserver(self, num_workers: int) -> None:
        """Start the forkserver before the first workers, with the modules that make them die with this process."""
        if num_workers and not self._forkserver_started:
            import multiprocessing

            self._forkserver_started = True
            multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOADED)
            start_forkserver()


class IdleTarget:
    """Keeps a target that was made to be asked for its knobs, until it is loaded: making it may take minutes."""

    def __init__(self) -> None:
        self._target: LoadedTarget | None = None
        self._options: TargetOptions | None = None

    def made(self, name: str, options: TargetOptions) -> LoadedTarget:
        """Return the target, made with these options.

        Args:
            name: Target as the user named it.
            options: Options of its factory.
        """
        from virnuc_profiler.targets.loaded_target import LoadedTarget

        target = self.taken(name, options)
        self._target, self._options = target or LoadedTarget.make(name, options), options
        return self._target

    def taken(self, name: str, options: TargetOptions) -> LoadedTarget | None:
        """Hand over the target if it was made with these options; close any other, since two may not fit the device.

        Args:
            name: Target as the user named it.
            options: Options of its factory.
        """
        target, self._target = self._target, None
        if target is None or (target.name == name and self._options == options):
            return target
        target.close()
        return None


def _resolve_device(device: str, knobs: ModelKnobs) -> str:
    from virnuc_profiler.sweep.trial.device_support import resolve_supported_device

    return str(resolve_supported_device(device, knobs))


def _introduction(model: LoadedModel) -> dict[str, Any]:
    return {
        "description": dict(model.description),
        "device_name": model.device_name,
        "forecast": None if model.forecast is None else str(model.forecast),
        "largest_budget": getattr(model, "largest_budget", None),
        "conditions": model.conditions().to_json(),
    }


def _resources(model: LoadedModel) -> dict[str, int | None]:
    held = getattr(model, "held_device_bytes", None)
    return {
        "device_bytes": None if held is None else held(),
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208  names are enough
        "children": len(live_pids_in_session(os.getsid(0))) - 1,
    }
