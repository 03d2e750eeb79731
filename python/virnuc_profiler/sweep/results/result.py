# SPDX-License-Identifier: MIT
"""The result of measuring one configuration, and its JSON form in journals, result files and messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.analysis.selection import INTERRUPTED, THROTTLED
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.results.verdicts.standing import Standing
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, Configuration, KnobSet
from virnuc_profiler.telemetry.typed_records import require_type
from virnuc_profiler.telemetry.values import shown

if TYPE_CHECKING:
    from virnuc_profiler.analysis.confidence.rate_interval import RateInterval

SUCCESS: Final = "success"
FAILED: Final = "failed"
OOM: Final = "OOM"
"""Reason and outcome of a configuration that ran out of memory."""
ENVIRONMENT: Final = "environment"
"""Reason and outcome of a configuration that the machine did not let run, which says nothing of the configuration."""

OTHER_PROCESS_SHARE: Final = "other_process_share"
"""Key of the evidence of a trial during which other processes used the device: their share of its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one configuration. What was not measured is None, never 0.

    Attributes:
        status: ``success`` or ``failed``.
        configuration: The configuration that was measured.
        outcome: ``ok``, ``throttled``, ``interrupted``, or the reason of the failure.
        evidence: What shows that outcome.
        reason: Kind of failure, such as ``OOM``; None after a success.
        message: The failure in a sentence; None after a success.
        memory: Memory that ran out: ``device``, ``host`` or ``shared memory``; None for other failures.
        predicted: Whether the configuration was not run because it cannot fit the device.
        predicted_peak_memory_gb: Device memory that it would need, where `predicted`.
        available_memory_gb: Device memory that the process can have, where `predicted`.
        elapsed_sec: Seconds from just before the loader starts to the last result.
        stopped_sec: Part of `elapsed_sec` in which the run was stopped; None if it was not.
        sequences_per_sec: Sequences over `elapsed_sec`.
        tokens_per_sec: Tokens over `elapsed_sec`.
        start_up_sec: Seconds until the first batch was complete.
        passes: Number of times that the workload was run in a row; None in files of older versions.
        measured_sec: Seconds after start-up that the run lasted.
        steady_sequences_per_sec: Sequences per second after warm-up; None if the run is too short for it.
        rough_sequences_per_sec: Sequences per second after the first batch, which leaves start-up out, but not
            warm-up; None if the run has a single batch.
        steady_tokens_per_sec: Tokens per second after warm-up; None if the run is too short for it.
        rate_interval: Interval of `steady_tokens_per_sec`, as JSON of a ``RateInterval``; None if that is not known.
        gpu_util: Average GPU utilization, 0 to 100; None if too little of the run was sampled.
        gpu_util_coverage: How much of the run was sampled, as in ``sampling_coverage`` of a telemetry summary.
        gpu_sampling_lost_after_sec: Seconds after which the GPU could no longer be sampled; None if it always could.
        joules_per_sequence: Energy of the device for a sequence; None if its counter does not cover the run.
        packing_efficiency: Average packing efficiency, 0 to 1.
        peak_memory_gb: Peak device memory in GB of 10⁹ bytes.
        oversize_batches: Batches of one pass with a single sequence that exceeds the token budget.
        truncated_sequences: Sequences that were cut to the longest length of the model.
        unknown_residues: Letters that the model does not know.
        warmed_up: Whether a few sequences were run unmeasured before, to their end; None if nothing is known of it.
        telemetry_path: Telemetry file.
        run_path: File of the whole run.
        cleanup: What the clean-up found, as JSON.
        model: Description of the model, where a sweep varies it.
        model_reloaded: Whether the model was loaded again for this configuration, where a sweep varies it.
        speedup: Cost of the baseline over that of this configuration, by the sweep's objective; only results in
            documents have it.
        standing: How this configuration stands beside the baseline and the best of its step; only results in
            documents have it.
        measured_under: Conditions in which this result differs from the rest of its document; None if in none.
        extra: Keys that this version does not know, kept as they were read.
    """

    status: str
    configuration: Configuration
    outcome: str | None = None
    evidence: Mapping[str, Any] | None = None
    reason: str | None = None
    message: str | None = None
    memory: str | None = None
    predicted: bool = False
    predicted_peak_memory_gb: float | None = None
    available_memory_gb: float | None = None
    elapsed_sec: float | None = None
    stopped_sec: float | None = None
    sequences_per_sec: float | None = None
    tokens_per_sec: float | None = None
    start_up_sec: float | None = None
    passes: int | None = None
    measured_sec: float | None = None
    steady_sequences_per_sec: float | None = None
    rough_sequences_per_sec: float | None = None
    steady_tokens_per_sec: float | None = None
    rate_interval: Mapping[str, Any] | None = None
    gpu_util: float | None = None
    gpu_util_coverage: Mapping[str, Any] | None = None
    gpu_sampling_lost_after_sec: float | None = None
    joules_per_sequence: float | None = None
    packing_efficiency: float | None = None
    peak_memory_gb: float | None = None
    oversize_batches: int | None = None
    truncated_sequences: int | None = None
    unknown_residues: int | None = None
    warmed_up: bool | None = None
    telemetry_path: str | None = None
    run_path: str | None = None
    cleanup: Mapping[str, Any] | None = None
    model: Mapping[str, Any] | None = None
    model_reloaded: bool | None = None
    speedup: float | None = None
    standing: Standing | None = None
    measured_under: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether the configuration was measured to the end."""
        return self.status == SUCCESS

    @property
    def throttled(self) -> bool:
        """Whether heat or a power brake held the device down meanwhile."""
        return self.outcome == THROTTLED

    @property
    def interrupted(self) -> bool:
        """Whether the run, or the machine, was stopped meanwhile, so that its rates say nothing."""
        return self.outcome == INTERRUPTED

    @property
    def interval(self) -> RateInterval | None:
        """Interval of the steady rate in tokens per second; None if it is not known."""
        from virnuc_profiler.analysis.confidence.rate_interval import RateInterval  # needs NumPy, which --help does not

        return None if self.rate_interval is None else RateInterval.from_json(self.rate_interval)

    def to_json(self) -> dict[str, Any]:
        """Return the documented dict of :func:`run_single_gpu_benchmark`.

        Keys that a status always has are there even if they are null; the others only if they have a value.
        """
        always = _ALWAYS | (_OF_SUCCESS if self.succeeded else _OF_FAILURE)
        found: dict[str, Any] = {}
        for name in _JSON_FIELDS:
            value = getattr(self, name)
            if value is not None or name in always:
                found[name] = value
        if not self.predicted:
            del found["predicted"]
        return {**found, "config": self.configuration.to_json(), **self.extra}

    @classmethod
    def from_json(cls, values: Any, knobs: KnobSet = BUILTIN_KNOBS) -> Result:
        """Read the dict of a result; keys that are missing are None, unknown ones are kept.

        Args:
            values: The dict.
            knobs: Knobs of the target that was measured.

        Raises:
            TelemetryFormatError: It is not the dict of a result.
        """
        if not isinstance(values, Mapping) or not isinstance(values.get("config"), Mapping):
            raise TelemetryFormatError(f"{shown(values)} is not a result: it has no config")
        try:
            configuration = Configuration.from_json(values["config"], knobs)
        except (TypeError, ValueError) as error:
            raise TelemetryFormatError(f"its config cannot be read: {error}") from None
        for name, types in _TYPES.items():
            require_type(values.get(name), types, name)
        if values.get("status") != SUCCESS and not isinstance(values.get("reason"), str):
            raise TelemetryFormatError("its status is not success, and it has no reason")
        known = {name: values[name] for name in _TYPES if values.get(name) is not None}
        if values.get("standing") is not None:
            known["standing"] = Standing.from_json(values["standing"], values.get("speedup"))
        apart = (*_TYPES, "config", "standing")
        extra = {name: value for name, value in values.items() if name not in apart}
        return cls(**known, configuration=configuration, extra=extra)


_TEXT: Final = (str, type(None))
_NUMBER: Final = (int, float, type(None))
_COUNT: Final = (int, type(None))
_FLAG: Final = (bool, type(None))
_OBJECT: Final = (dict, type(None))

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "status": (str,),
    **dict.fromkeys(("outcome", "reason", "message", "memory", "telemetry_path", "run_path"), _TEXT),
    **dict.fromkeys(("evidence", "cleanup", "model", "measured_under", "gpu_util_coverage", "rate_interval"), _OBJECT),
    **dict.fromkeys(("predicted", "model_reloaded", "warmed_up"), _FLAG),
    **dict.fromkeys(("passes", "oversize_batches", "truncated_sequences", "unknown_residues"), _COUNT),
    **dict.fromkeys(
        (
            "predicted_peak_memory_gb", "available_memory_gb", "elapsed_sec", "sequences_per_sec", "tokens_per_sec",
            "start_up_sec", "measured_sec", "steady_sequences_per_sec", "steady_tokens_per_sec", "gpu_util",
            "gpu_sampling_lost_after_sec", "packing_efficiency", "peak_memory_gb", "speedup", "stopped_sec",
            "joules_per_sequence", "rough_sequences_per_sec",
        ),
        _NUMBER,
    ),
}  # fmt: skip
"""Types of the JSON values, by key."""

_JSON_FIELDS: Final = tuple(
    each.name for each in fields(Result) if each.name not in ("configuration", "extra", "speedup", "standing")
)
_ALWAYS: Final = frozenset(
    ("status", "outcome", "evidence", "peak_memory_gb", "truncated_sequences", "unknown_residues", "telemetry_path",
     "run_path", "cleanup")
)  # fmt: skip
_OF_SUCCESS: Final = frozenset(
    ("elapsed_sec", "sequences_per_sec", "tokens_per_sec", "start_up_sec", "passes", "measured_sec",
     "steady_sequences_per_sec", "steady_tokens_per_sec", "rate_interval", "gpu_util", "gpu_sampling_lost_after_sec",
     "joules_per_sequence", "packing_efficiency", "oversize_batches")
)  # fmt: skip
_OF_FAILURE: Final = frozenset(("reason", "message"))
