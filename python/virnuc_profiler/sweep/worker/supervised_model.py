# SPDX-License-Identifier: MIT
"""A model in another process, with the interface of a model in this one, so that sweeps need not tell them apart."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from virnuc_profiler.errors import EnvironmentFailure, ModelError, OutputError, UsageError, VirnucError, WorkloadError
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.cooldown import AUTO, max_pause_s
from virnuc_profiler.sweep.plan.request import Request
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.trial.loaded_model import LiveFigures, with_model, with_output
from virnuc_profiler.sweep.worker.damage import Resources, damage, growth
from virnuc_profiler.sweep.worker.deadlines import CLEAN_UP_S, Watchdog
from virnuc_profiler.sweep.worker.outcomes import ProcessLost, ProcessTimeout, failed_trial, unloadable
from virnuc_profiler.sweep.worker.protocol import Message
from virnuc_profiler.sweep.worker.supervisor import Supervisor
from virnuc_profiler.targets.containment.captured_output import TARGET_OUTPUT, output_path
from virnuc_profiler.targets.knobs.configuration import BUILTIN_TARGET, Configuration

MAX_FAILED_STARTS: Final = 3
"""Failed starts in a row after which the sweep ends, since each may have cost the whole start timeout."""

_NOT_THE_TRIALS: Final = (UsageError, WorkloadError, OutputError, EnvironmentFailure)
"""Errors that end the sweep, because the next configuration would meet them too."""

_ENDED: Final = ProcessLost | ProcessTimeout
"""Errors after which the process is gone."""

_log = logging.getLogger(__name__)


class _ModelRefused(ModelError):
    """A value of the model's knobs does not fit the device, so that another attempt would fail too."""


class SupervisedModel:
    """A model that is loaded in a process of its own, and loaded again in a new one after damage.

    A configuration that names other values of the model's knobs, such as another precision, has the model loaded again
    in the same process.

    Args:
        request: What is asked for.
        supervisor: Supervisor of the process. It is closed with the model, and if no model can be loaded.

    Raises:
        UsageError: Model, precision or memory limit do not fit the device.
        ModelError: The weights are not available.
        ProcessTimeout: Loading takes too long.
        ProcessLost: The process died while loading.
    """

    def __init__(self, request: Request, supervisor: Supervisor) -> None:
        self._request = request
        self._supervisor = supervisor
        self._warm_up: tuple[Workload, int] | None = None
        self._loaded: _Loaded | None = None
        self._first_resources: Resources | None = None
        self._first_conditions: dict[str, Conditions] = {}
        self._load_failure: Exception | None = None
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
        """The product name of the device."""
        return str(self._introduction["device_name"])

    @property
    def forecast(self) -> str | None:
        """What the model needs and which budgets fit, in words; None if that is not known."""
        forecast: str | None = self._introduction["forecast"]
        return forecast

    @property
    def largest_budget(self) -> int | None:
        """The largest token budget that is forecast to fit; None where nothing is forecast."""
        budget: int | None = self._introduction["largest_budget"]
        return budget

    def conditions(self) -> Conditions:
        """Return the conditions of results with this model on this machine."""
        limits = self._supervisor.limits
        conditions = Conditions.from_json(self._introduction["conditions"])
        how = {"isolation": "process", "start_timeout_s": limits.start_s, "progress_timeout_s": limits.progress_s}
        return replace(conditions, settings={**conditions.settings, **how})

    def warm_up(self, workload: Workload, num_workers: int = 1) -> None:
        """Run a few sequences unmeasured, now and after each later load of a model.

        A failure is ignored here, since the first configuration will show it.

        Args:
            workload: Sequences to take some from.
            num_workers: DataLoader processes to start.
        """
        self._warm_up = (workload, num_workers)
        try:
            self._ensure_ready(warm=True)
        except _NOT_THE_TRIALS:
            raise
        except Exception as error:
            _log.debug("the warm-up failed", exc_info=error)
            self._loaded = None

    def run_trial(
        self,
        workload: Workload,
        configuration: Configuration,
        output_dir: Path,
        on_progress: Callable[[int], None] | None = None,
        on_tokens: Callable[[int], None] | None = None,
        *,
        brief: bool = False,
    ) -> Result:
        """Measure one configuration, in a process that no earlier trial has damaged.

        A process that cannot be started says nothing of the configuration, which then has no result.

        Args:
            workload: Sequences to run.
            configuration: Values of all knobs.
            output_dir: Folder of the telemetry file and the run.
            on_progress: Called with the number of sequences that are done.
            on_tokens: Called with the number of their tokens.
            brief: Whether the sequences are repeated only briefly, and the pause is only as long as the clean-up needs.

        Raises:
            VirnucError: No process can be started any more, or it finds other conditions than the one before.
            WorkloadError: The sequences have changed.
            OutputError: The results cannot be written.
        """
        before = self._request
        self._request = before.for_configuration(configuration)
        reloaded = self._request != before
        if reloaded:
            self._load_failure = self._start_repeatedly()
            if self._load_failure is not None and not isinstance(self._load_failure, _ENDED | _ModelRefused):
                self._supervisor.replace("a model could not be loaded")
        if self._load_failure is not None:  # says something of these configurations, but nothing of the others
            return with_model(unloadable(configuration, self._load_failure), self._request.describe_model(), reloaded)
        result = None
        attempt = 0
        while result is None:
            attempt += 1
            last = attempt == MAX_FAILED_STARTS
            result = self._try(workload, configuration, output_dir, on_progress, on_tokens, brief=brief, last=last)
        if not configuration.knobs.is_builtin:
            result = with_output(result, output_path(output_dir, configuration.run_id))
        return with_model(result, self.description, reloaded)

    def predicted_failure(self, workload: Workload, configuration: Configuration) -> Result | None:
        """Return the result of a configuration that cannot fit the device; None if it may fit.

        Args:
            workload: Sequences that would be run.
            configuration: Values of all knobs.
        """
        self._request = self._request.for_configuration(configuration)
        self._require_ready()
        watch = Watchdog(start_s=self._supervisor.limits.start_s)
        fields: dict[str, Any] = {"workload": workload.to_json(), "configuration": configuration.to_json()}
        predicted = self._supervisor.ask("predicted", watch, "predict", **fields)["result"]
        return None if predicted is None else Result.from_json(predicted, configuration.knobs)

    def live_figures(self) -> LiveFigures:
        """Return what the process has told of the trial that is running."""
        return self._supervisor.figures

    def close(self) -> None:
        """End the process; may be called again."""
        self._supervisor.close()

    def __enter__(self) -> SupervisedModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _try(
        self,
        workload: Workload,
        configuration: Configuration,
        output_dir: Path,
        on_progress: Callable[[int], None] | None,
        on_tokens: Callable[[int], None] | None,
        *,
        brief: bool,
        last: bool,
    ) -> Result | None:
        """Return the result of a trial; None if the process died before it began to measure, unless `last`.

        An idle process may die at any moment, and no configuration is to blame for that.
        """
        self._require_ready()
        files = _TrialFiles.now(output_dir, configuration)
        output = None
        if not configuration.knobs.is_builtin:
            output = output_path(output_dir, configuration.run_id)
            output.unlink(missing_ok=True)  # that of an earlier trial of this configuration
        request = self._request
        watch = Watchdog(
            progress_s=self._supervisor.limits.progress_s,
            total_s=request.timeout_s,
            extra_s=max_pause_s(AUTO if brief else request.cooldown_s) + CLEAN_UP_S,
        )
        try:
            reply = self._supervisor.ask(
                "result", watch, "trial", on_progress, on_tokens, ask_to_stop=True, output=output,
                workload=workload.to_json(), configuration=configuration.to_json(), output_dir=str(output_dir),
                brief=brief,
            )  # fmt: skip
        except _NOT_THE_TRIALS:
            raise
        except Exception as error:
            lost = isinstance(error, ProcessLost)
            if lost and not last and not watch.measuring:
                _log.warning("%s is tried again: %s", configuration, error)
                return None
            if not isinstance(error, _ENDED):  # the process lives, but its state is unknown
                self._supervisor.replace(f"a trial ended with {type(error).__name__}")
            return failed_trial(configuration, error, files.written_since())
        return self._judged(reply, configuration)

    def _require_ready(self) -> None:
        """Have a process ready, at the third attempt at the latest.

        Raises:
            VirnucError: No process could be started.
        """
        if error := self._start_repeatedly():
            raise VirnucError(f"the model could not be started {MAX_FAILED_STARTS} times in a row: {error}") from error

    def _start_repeatedly(self) -> Exception | None:
        """Try to have a process ready, and return the error of the last attempt; None if one is ready."""
        error = self._start_error()
        for _ in range(1, MAX_FAILED_STARTS):
            if error is None or isinstance(error, _ModelRefused):
                return error
            _log.warning("the model could not be started, which is tried again: %s", error)
            error = self._start_error()
        return error

    def _start_error(self) -> Exception | None:
        """Return why no process is ready; None if one is."""
        try:
            self._ensure_ready()
        except _NOT_THE_TRIALS:
            raise
        except Exception as error:
            self._loaded = None
            return error
        return None

    def _ensure_ready(self, *, warm: bool = False) -> None:
        """Have a process that holds the right model; each load is warmed up like the first, for the same figures."""
        self._supervisor.start()
        fresh = self._loaded != self._wanted()
        if fresh:
            self._introduction = self._load()
        if (fresh or warm) and self._warm_up is not None:
            workload, num_workers = self._warm_up
            watch = Watchdog(start_s=self._supervisor.limits.start_s)
            try:
                self._supervisor.ask(
                    "warmed_up", watch, "warm_up",
                    output=self._output, workload=workload.to_json(), num_workers=num_workers,
                )  # fmt: skip
            except (ProcessLost, ProcessTimeout) as error:
                if self._output is not None:  # a target may do that in every run, but not with every configuration
                    _log.warning("the warm-up failed, and trials run without one: %s", error)
                    self._warm_up = None
                raise

    def _load(self) -> Message:
        """Load the model, and refuse a process whose results could not stand beside those before.

        Raises:
            UsageError: Machine, versions or model are not what they were, or the first model does not fit the device.
            _ModelRefused: A later model does not fit the device.
        """
        watch = Watchdog(start_s=self._supervisor.limits.start_s)
        try:
            introduction = self._supervisor.ask(
                "loaded", watch, "load", output=self._output, request=self._request.to_json()
            )
        except UsageError as error:
            if not self._first_conditions:
                raise
            raise _ModelRefused(str(error)) from error
        self._loaded = self._wanted()
        self._first_resources = None
        conditions = Conditions.from_json(introduction["conditions"])
        model = Conditions({}, {}, introduction["description"], {})
        for kind, today in (("sweep", conditions), (str(self._request.model_knobs), model)):
            then = self._first_conditions.setdefault(kind, today)
            if differences := today.differences(then, workload=False):
                raise UsageError(
                    f"something has changed since the sweep began: {'; '.join(map(str, differences))}; what is "
                    "finished is kept: sweep --resume --allow-mixed continues under these conditions"
                )
        return introduction

    @property
    def _output(self) -> Path | None:
        """The file that keeps what a target prints while it is made and warmed up; None for the built-in one."""
        builtin = self._request.target == BUILTIN_TARGET
        return None if builtin else self._request.output_dir / TARGET_OUTPUT

    def _wanted(self) -> _Loaded:
        return _Loaded(self._supervisor.pid, self._request)

    def _judged(self, reply: Message, configuration: Configuration) -> Result:
        """Return the trial's result, and end a process that the trial has damaged."""
        result = Result.from_json(reply["result"], configuration.knobs)
        resources = Resources(**reply["resources"])
        if self._first_resources is None:
            self._first_resources = resources
        reason = damage(result) or growth(self._first_resources, resources)
        if reason is None:
            return result
        self._supervisor.replace(reason)
        return replace(result, evidence={**(result.evidence or {}), "process_replaced": reason})


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Which model is loaded where.

    Attributes:
        pid: Process id of the process that holds it; None before one was started.
        request: Request that it was loaded for.
    """

    pid: int | None
    request: Request


@dataclass(frozen=True, slots=True)
class _TrialFiles:
    """The files of a trial, and when they were last written before it.

    Attributes:
        telemetry: Path of the telemetry file.
        run: Path of the whole run.
        written_ns: Modification time of the telemetry file before the trial; None if it did not exist.
    """

    telemetry: Path
    run: Path
    written_ns: int | None

    @classmethod
    def now(cls, output_dir: Path, configuration: Configuration) -> _TrialFiles:
        telemetry = output_dir / f"telemetry_{configuration.run_id}.json"
        return cls(telemetry, output_dir / f"run_{configuration.run_id}.json", _written_ns(telemetry))

    def written_since(self) -> dict[str, str] | None:
        """Return their paths, if a process that was asked to stop has still written them."""
        if _written_ns(self.telemetry) in (None, self.written_ns) or not self.run.exists():
            return None
        return {"telemetry_path": str(self.telemetry), "run_path": str(self.run)}


def _written_ns(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None
