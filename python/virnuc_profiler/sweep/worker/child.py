# SPDX-License-Identifier: MIT
"""The model process: loads the model once and answers requests, one after the other, until it is told to end."""

from __future__ import annotations

import faulthandler
import logging
import os
import queue
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.inference.loading.interrupts import deferred_interrupts, start_forkserver
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.plan.request import ModelKnobs, Request
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.trial.loaded_model import LoadedModel
from virnuc_profiler.sweep.worker.process_tree import die_with, living_of_session
from virnuc_profiler.sweep.worker.protocol import MAX_TEXT, REQUESTS, LineReader, Message, describe_error, encode

PROGRESS_EVERY_S: Final = 0.1
"""More often nobody looks: a message costs some 10 µs, and a small model has thousands of batches a second."""

_PRELOADED: Final = ["virnuc_profiler.inference.loading.worker", "virnuc_profiler.sweep.worker.child"]

MakeModel = Callable[[Request], LoadedModel]


def main(requests: str, messages: str, parent_pid: str, log_level: str, make_model: MakeModel | None = None) -> None:
    """Serves until told to end; `requests` and `messages` are the pipes' descriptors."""
    die_with(int(parent_pid))
    for descriptor in (int(requests), int(messages)):
        os.set_inheritable(descriptor, False)  # a worker that held them would hide that this process is gone
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had the supervisor ignore it
    outgoing = Outgoing(int(messages))
    logger = logging.getLogger("virnuc_profiler")
    logger.setLevel(int(log_level))
    logger.addHandler(_LogMessages(outgoing))
    service = Service(outgoing, make_model or _measured_model)
    threading.Thread(target=service.listen, args=(int(requests),), name="requests", daemon=True).start()
    outgoing.send("hello", pid=os.getpid())
    with suppress(KeyboardInterrupt):  # told to end, while nothing ran that wanted to know
        service.serve()


def _measured_model(request: Request) -> LoadedModel:
    from virnuc_profiler.sweep.trial.measured_model import MeasuredModel

    return MeasuredModel(request)


class Outgoing:
    """The pipe to the supervisor, for any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, kind: str, **fields: Any) -> None:
        """Sends a message; it ends this process if there is no supervisor any more."""
        line = memoryview(encode(kind, **fields))
        with deferred_interrupts(), self._lock:
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except BrokenPipeError:
                _end_all()

    def has_room(self) -> bool:
        """Whether a short message can be sent without waiting for the supervisor to read."""
        pipe = select.poll()
        pipe.register(self._descriptor, select.POLLOUT)
        return bool(pipe.poll(0))


class Service:
    """Answers requests with a model that is made once.

    Args:
        outgoing: takes the answers.
        make_model: loads it.
    """

    def __init__(self, outgoing: Outgoing, make_model: MakeModel) -> None:
        self._outgoing = outgoing
        self._make_model = make_model
        self._model: LoadedModel | None = None
        self._waiting: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._guarded = False
        self._busy = threading.Lock()

    def listen(self, descriptor: int) -> None:
        """Reads requests, on a thread of its own: it notices at once when the supervisor is gone, or wants to stop."""
        reader = LineReader(REQUESTS)
        while piece := os.read(descriptor, 1 << 16):
            for message in reader.feed(piece):
                if message["kind"] == "stop":
                    self._waiting.put(None)
                    if self._busy.locked():  # else the main thread ends by itself, and Ctrl-C would only spoil that
                        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                else:
                    self._waiting.put(message)
        _end_all()

    def serve(self) -> None:
        """Answers one request after the other."""
        while (message := self._waiting.get()) is not None:
            with self._busy:
                self._serve_one(message)

    def _serve_one(self, message: Message) -> None:
        try:
            answer, fields = self._answer(message)
            self._outgoing.send(answer, **fields)
        except KeyboardInterrupt:
            self._outgoing.send("interrupted")
            raise
        except Exception as error:  # also an answer that cannot be sent
            self._outgoing.send("failed", **describe_error(error))

    def _answer(self, message: Message) -> tuple[str, dict[str, Any]]:
        if message["kind"] == "resolve_device":
            return "device", {"device": _resolve_device(message["device"], message["knobs"])}
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
            self._guard_workers(message["num_workers"])
            self._model.warm_up(workload, message["num_workers"])
            return "warmed_up", {}
        configuration = Configuration.from_json(message["configuration"])
        if message["kind"] == "predict":
            predicted = self._model.predicted_failure(workload, configuration)
            return "predicted", {"result": None if predicted is None else predicted.to_json()}
        self._guard_workers(configuration.num_workers)
        progress = _Progress(self._outgoing)
        result = self._model.run_trial(workload, configuration, Path(message["output_dir"]), progress)
        return "result", {"result": result.to_json(), "resources": _resources(self._model)}

    def _guard_workers(self, num_workers: int) -> None:
        """Starts the forkserver, if workers will be wanted, so that they die with this process."""
        if num_workers and not self._guarded:
            import multiprocessing

            self._guarded = True
            multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOADED)
            start_forkserver()


class _Progress:
    """Passes a trial's progress on, not too often."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._next = 0.0

    def __call__(self, sequences: int) -> None:
        now = time.monotonic()
        if not sequences:  # it begins, and with it the time that it may take
            self._outgoing.send("progress", sequences=0)
        elif now >= self._next and self._outgoing.has_room():  # a supervisor that is stopped must not slow the run down
            self._next = now + PROGRESS_EVERY_S
            self._outgoing.send("progress", sequences=sequences)


class _LogMessages(logging.Handler):
    """Passes log records on; the supervisor shows them where its own go."""

    def __init__(self, outgoing: Outgoing) -> None:
        super().__init__()
        self._outgoing = outgoing
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)[:MAX_TEXT]
        except Exception:
            self.handleError(record)
        else:
            self._outgoing.send("log", level=record.levelno, text=text)


def _resolve_device(device: str, knobs: ModelKnobs) -> str:
    from virnuc_profiler.sweep.trial.device_support import resolve_supported_device

    return str(resolve_supported_device(device, knobs))


def _introduction(model: LoadedModel) -> dict[str, Any]:
    return {
        "description": dict(model.description),
        "device_name": model.device_name,
        "forecast": None if model.forecast is None else str(model.forecast),
        "conditions": model.conditions().to_json(),
    }


def _resources(model: LoadedModel) -> dict[str, int | None]:
    held = getattr(model, "held_device_bytes", None)
    return {
        "device_bytes": None if held is None else held(),
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208  names are enough
        "children": len(living_of_session(os.getsid(0))) - 1,
    }


def _end_all() -> None:
    """The supervisor is gone, and nobody else would end the workers: they and this process, at once."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


_FORKSERVER = os.getpid()
_in_forkserver = True


def _in_child() -> None:
    global _in_forkserver
    if _in_forkserver:  # it was, until this fork: what a worker forks has another parent
        _in_forkserver = False
        die_with(_FORKSERVER)


die_with(os.getppid())
os.register_at_fork(after_in_child=_in_child)
