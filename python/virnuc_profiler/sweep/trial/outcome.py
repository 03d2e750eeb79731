# SPDX-License-Identifier: MIT
"""How results are made of what became of a run: ``outcome`` and its ``evidence``.

A throttled run is a flagged success: its figures are true, but the device was held down, so it wins only if no other
run succeeded. An interrupted run is one too, but never wins, because its rates count the time in which it stood still.
A contaminated run counts as failed, whatever it measured, and never wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from virnuc_profiler.analysis.diagnosis.contention import other_process_sm_time
from virnuc_profiler.analysis.gpu.throttling import ThrottleTimeline, hard_throttling
from virnuc_profiler.analysis.host.interruptions import was_interrupted
from virnuc_profiler.analysis.selection import CONTAMINATED, INTERRUPTED, THROTTLED
from virnuc_profiler.sweep.results.result import FAILED, OOM, OTHER_PROCESS_SHARE, Result
from virnuc_profiler.sweep.trial.failure import Failure
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.run_result import RunResult

OK: Final = "ok"

_MEASURED: Final = ("elapsed_sec", "stopped_sec", "sequences_per_sec", "tokens_per_sec")


def successful_outcome(run: RunResult) -> dict[str, Any]:
    """Return ``outcome``, which is ``ok``, ``throttled`` or ``interrupted``, its ``evidence``, and ``stopped_sec``."""
    found = _outcome_of_device(run)
    if not run.stopped_s and not run.suspended_s:
        return found
    stops = {"stopped_sec": run.stopped_s, "suspended_sec": run.suspended_s}
    outcome = INTERRUPTED if was_interrupted(run) else found["outcome"]
    return {"outcome": outcome, "evidence": {**found["evidence"], **stops}, "stopped_sec": run.stopped_s}


def _outcome_of_device(run: RunResult) -> dict[str, Any]:
    counts: dict[str, Any] = {"sequences": run.total_sequences, "tokens": run.total_tokens, "batches": len(run.batches)}
    window = (run.host_start_ns, run.host_end_ns)
    if (sign := other_process_sm_time(run.gpu, window)) is not None:
        counts[OTHER_PROCESS_SHARE] = sign.taken_share
    held = None if run.gpu is None else hard_throttling(ThrottleTimeline(run.gpu), window)
    if held is None:
        return {"outcome": OK, "evidence": {**counts, "held_down_share": None}}
    seen = {"held_down_share": held.share, "reasons": dict(held.reasons)}
    if not held.coverage.whole:
        seen["sampled_share"] = held.coverage.share
    return {"outcome": THROTTLED if held.throttled else OK, "evidence": {**counts, **seen}}


def failed_result(failure: Failure, configuration: Configuration, **known: Any) -> Result:
    """Make the result of a trial that failed.

    Args:
        failure: What went wrong.
        configuration: Configuration that was measured.
        **known: Further fields of the result.
    """
    return Result(
        status=FAILED,
        configuration=configuration,
        reason=failure.reason,
        message=failure.message,
        memory=failure.memory if failure.reason == OOM else None,
        outcome=failure.reason,
        evidence=dict(failure.evidence),
        **known,
    )


def without_contamination(result: Result, left_behind: Sequence[str]) -> Result:
    """Return a result unchanged, or a failure if earlier runs had left something behind when its run began.

    Args:
        result: What was measured.
        left_behind: What was left behind, in sentences.
    """
    if not left_behind:
        return result
    measured = {name: getattr(result, name) for name in ("outcome", "message", "evidence", *_MEASURED)}
    return Result(
        status=FAILED,
        configuration=result.configuration,
        reason=CONTAMINATED,
        message=f"an earlier run was not gone when this one began: {'; '.join(left_behind)}",
        outcome=CONTAMINATED,
        evidence={
            "left_behind": list(left_behind),
            "measured_nevertheless": {name: value for name, value in measured.items() if value is not None},
        },
        peak_memory_gb=result.peak_memory_gb,
        truncated_sequences=result.truncated_sequences,
        unknown_residues=result.unknown_residues,
    )
