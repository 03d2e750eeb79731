# SPDX-License-Identifier: MIT
"""A model in another process, with the same face as one in this: sweeps need not know which one they have."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from virnuc_profiler.errors import OutputError, UsageError, VirnucError, WorkloadError
from virnuc_profiler.sweep.machine.device_memory import is_leak
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.plan.cooldown import longest_pause_s
from virnuc_profiler.sweep.plan.request import Request
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.worker.deadlines import CLEAN_UP_S, Watchdog
from virnuc_profiler.sweep.worker.outcomes import ProcessLost, ProcessTimeout, failed_trial
from virnuc_profiler.sweep.worker.protocol import Message
from virnuc_profiler.sweep.worker.supervisor import Supervisor

MAX_FAILED_STARTS: Final = 3
"""So many in a row, and the sweep ends: each may have cost the whole start timeout."""

_NOT_THE_TRIALS: Final = (UsageError, WorkloadError, OutputError)
"""What ends the sweep, for the next configuration would fare no better."""

_log = logging.getLogger(__name__)


class SupervisedModel:
    """A model that is loaded once in a process of its own, and again in a new one where that is the safer thing.

    Args:
        request: what is asked for.
        supervisor: has the process; it is closed with the model, and if there comes to be none.

    Raises:
        UsageError: the model, precision or memory limit do not fit the device.
        ModelError: the weights cannot be had.
        ProcessTimeout: it takes too long to load.
        ProcessLost: the process died of it.
    """

    def __init__(self, request: Request, supervisor: Supervisor) -> None:
        self._request = request
        self._supervisor = supervisor
        self._warm_up: tuple[Workload, int] | None = None
        self._loaded_in: int | None = None
        self._first_resources: Resources | None = None
        try:
            self._introduction = self._load()
        except BaseException:
            supervisor.close()
            raise

    @property
    def description(self) -> dict[str, Any]:
        """The model as result files name it."""
        description: dict[str, Any] = self._introduction["description"]
        return description

    @property
    def device_name(self) -> str:
        """The device's own name."""
        return str(self._introduction["device_name"])

    @property
    def forecast(self) -> str | None:
        """What the model takes and which budgets fit; None if nothing is known."""
        forecast: str | None = self._introduction["forecast"]
        return forecast

    def conditions(self) -> Conditions:
        """The circumstances of results with this model on this machine."""
        limits = self._supervisor.limits
        conditions = Conditions(**self._introduction["conditions"])
        how = {"isolation": "process", "start_timeout_s": limits.start_s, "progress_timeout_s": limits.progress_s}
        return Conditions(conditions.machine, conditions.versions, conditions.model, {**conditions.settings, **how})

    def warm_up(self, workload: Workload, num_workers: int = 1) -> None:
        """Runs a few sequences unmeasured, and again in each new process.

        A failure is none yet: the first configuration will show it.
        """
        self._warm_up = (workload, num_workers)
        try:
            self._ensure_ready(warm=True)
        except _NOT_THE_TRIALS:
            raise
        except Exception as error:
            _log.debug("the warm-up failed", exc_info=error)
            self._loaded_in = None

    def run_trial(
        self,
        workload: Workload,
        configuration: Configuration,
        output_dir: Path,
        on_progress: Callable[[int], None] | None = None,
    ) -> dict[str, Any]:
        """Measures one configuration, in a process that nothing has damaged.

        A process that cannot be started says nothing of the configuration, which then has no result.

        Raises:
            VirnucError: no process can be started any more, or it finds other conditions than the one before.
            WorkloadError: the sequences are not what they were.
            OutputError: nothing can be written.
        """
        result = None
        attempt = 0
        while result is None:
            attempt += 1
            last = attempt == MAX_FAILED_STARTS
            result = self._try(workload, configuration, output_dir, on_progress, last=last)
        return result

    def _try(
        self,
        workload: Workload,
        configuration: Configuration,
        output_dir: Path,
        on_progress: Callable[[int], None] | None,
        *,
        last: bool,
    ) -> dict[str, Any] | None:
        """The result of a trial; None if the process died before it began to measure, unless this try is the last.

        It may have died with nothing to do, just when it was asked: no configuration is to blame for that.
        """
        self._start_again_and_again()
        files = _TrialFiles.now(output_dir, configuration)
        request = self._request
        watch = Watchdog(
            progress_s=self._supervisor.limits.progress_s,
            total_s=request.timeout_s,
            extra_s=longest_pause_s(request.cooldown_s) + CLEAN_UP_S,
        )
        try:
            reply = self._supervisor.ask(
                "result", watch, "trial", on_progress, ask_to_stop=True,
                workload=workload.as_dict(), configuration=configuration.as_dict(), output_dir=str(output_dir),
            )  # fmt: skip
        except _NOT_THE_TRIALS:
            raise
        except Exception as error:
            lost = isinstance(error, ProcessLost)
            if lost and not last and not watch.measuring:
                _log.warning("%s is tried again: %s", configuration, error)
                return None
            if not lost and not isinstance(error, ProcessTimeout):  # it told of an error, and is of unknown state
                self._supervisor.replace(f"a trial ended with {type(error).__name__}")
            return failed_trial(configuration, error, files.written_since())
        return self._judged(reply)

    def predicted_failure(self, workload: Workload, configuration: Configuration) -> dict[str, Any] | None:
        """The result of a configuration that surely does not fit the device; None of one that may."""
        self._start_again_and_again()
        watch = Watchdog(start_s=self._supervisor.limits.start_s)
        fields: dict[str, Any] = {"workload": workload.as_dict(), "configuration": configuration.as_dict()}
        result: dict[str, Any] | None = self._supervisor.ask("predicted", watch, "predict", **fields)["result"]
        return result

    def close(self) -> None:
        """Ends the process; may be called again."""
        self._supervisor.close()

    def __enter__(self) -> SupervisedModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start_again_and_again(self) -> None:
        """Has a process that is ready, at the third try at the latest."""
        for attempt in range(1, MAX_FAILED_STARTS + 1):
            error = self._obstacle()
            if error is None:
                return
            if attempt == MAX_FAILED_STARTS:
                raise VirnucError(f"the model could not be started {attempt} times in a row: {error}") from error
            _log.warning("the model could not be started, which is tried again: %s", error)

    def _obstacle(self) -> Exception | None:
        """Why no process is ready; None if one is."""
        try:
            self._ensure_ready()
        except _NOT_THE_TRIALS:
            raise
        except Exception as error:
            self._loaded_in = None
            return error
        return None

    def _ensure_ready(self, *, warm: bool = False) -> None:
        """Has a process that holds the model; a new one is warmed up like the first, for the same figures."""
        self._supervisor.start()
        fresh = self._loaded_in is None or self._loaded_in != self._supervisor.pid
        if fresh:
            self._require_the_same(self._load())
        if (fresh or warm) and self._warm_up is not None:
            workload, num_workers = self._warm_up
            watch = Watchdog(start_s=self._supervisor.limits.start_s)
            self._supervisor.ask("warmed_up", watch, "warm_up", workload=workload.as_dict(), num_workers=num_workers)

    def _require_the_same(self, introduction: Message) -> None:
        """Refuses a process whose results could not stand beside those of the first.

        Raises:
            UsageError: machine, versions or model are not what they were.
        """
        then, today = (Conditions(**known["conditions"]) for known in (self._introduction, introduction))
        if differences := today.differences(then, workload=False):
            raise UsageError(
                f"something has changed since the sweep began: {'; '.join(map(str, differences))}; what is finished is "
                "kept: sweep --resume --allow-mixed continues under these conditions"
            )

    def _load(self) -> Message:
        watch = Watchdog(start_s=self._supervisor.limits.start_s)
        introduction = self._supervisor.ask("loaded", watch, "load", request=self._request.as_dict())
        self._loaded_in = self._supervisor.pid
        self._first_resources = None
        return introduction

    def _judged(self, reply: Message) -> dict[str, Any]:
        """The trial's result; a process that it has damaged is ended."""
        result: dict[str, Any] = reply["result"]
        resources = Resources(**reply["resources"])
        if self._first_resources is None:
            self._first_resources = resources
        reason = damage(result) or growth(self._first_resources, resources)
        if reason is None:
            return result
        self._supervisor.replace(reason)
        return {**result, "evidence": {**(result.get("evidence") or {}), "process_replaced": reason}}


@dataclass(frozen=True, slots=True)
class _TrialFiles:
    """The files of a trial, and when they were last written before it."""

    telemetry: Path
    run: Path
    written_ns: int | None

    @classmethod
    def now(cls, output_dir: Path, configuration: Configuration) -> _TrialFiles:
        telemetry = output_dir / f"telemetry_{configuration.run_id}.json"
        return cls(telemetry, output_dir / f"run_{configuration.run_id}.json", _written_ns(telemetry))

    def written_since(self) -> dict[str, str] | None:
        """Their paths, if a process that was asked to stop has still written them."""
        if _written_ns(self.telemetry) in (None, self.written_ns) or not self.run.exists():
            return None
        return {"telemetry_path": str(self.telemetry), "run_path": str(self.run)}


def _written_ns(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


MAX_NEW_BYTES: Final = 256 * 2**20
"""Over all trials since the first: more than three times what one may leave. A leak that no single trial shows adds up
to that, and what libraries allocate once does not."""

MAX_NEW_DESCRIPTORS: Final = 64
"""A trial of four workers has about thirty pipes: if two of them leave theirs open, something is wrong."""

MAX_NEW_CHILDREN: Final = 4
"""Forkserver, resource tracker and PyTorch's manager of shared memory start when first needed; one to spare."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a model process holds between two trials.

    Attributes:
        device_bytes: device memory of its tensors; None on the CPU, and where it cannot be told.
        descriptors: open files, pipes and sockets.
        children: living processes of its session, apart from itself.
    """

    device_bytes: int | None
    descriptors: int
    children: int


def damage(result: Mapping[str, Any]) -> str | None:
    """What the outcome of a trial may have damaged, in words; None if the process is as good as before.

    Running out of memory is no damage in itself: it is one only if the memory does not come back. All other failures
    are: a CUDA error spoils the context, and of what was hung, cut off or crashed nobody knows the state.
    """
    cleanup = result.get("cleanup")
    if cleanup is not None:
        if cleanup.get("workers_left"):
            return f"worker processes were left: {', '.join(map(str, cleanup['workers_left']))}"
        leaked = cleanup.get("leaked_device_bytes") or 0
        if is_leak(leaked, cleanup.get("device_memory_before")):
            return f"{leaked:,} bytes of device memory did not come back"
    if result["status"] == "success" or result.get("predicted"):
        return None
    if result["reason"] != "OOM":
        return f"the trial failed with {result['reason']}"
    if cleanup is None or (result.get("memory") == "device" and cleanup.get("leaked_device_bytes") is None):
        return "memory ran out, and whether it came back is not known"
    return None


def growth(first: Resources, now: Resources) -> str | None:
    """What has grown since the process's first trial beyond what is usual, in words; None if nothing has."""
    new_bytes = (now.device_bytes or 0) - (first.device_bytes or 0)
    if first.device_bytes is not None and new_bytes > MAX_NEW_BYTES:
        return f"it holds {new_bytes:,} bytes of device memory more than after its first trial"
    if now.descriptors - first.descriptors > MAX_NEW_DESCRIPTORS:
        return f"it has {now.descriptors - first.descriptors} open files more than after its first trial"
    if now.children - first.children > MAX_NEW_CHILDREN:
        return f"it has {now.children - first.children} processes more than after its first trial"
    return None
