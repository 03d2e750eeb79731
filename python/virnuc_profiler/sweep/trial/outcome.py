# SPDX-License-Identifier: MIT
"""How results are made of what became of a run: ``outcome`` and its ``evidence``.

A throttled run is a flagged success: its figures are true, but the device was held down, so it wins only if no other
run succeeded. An interrupted run is one too, but never wins, because its rates count the time in which it stood still.
A contaminated run counts as failed, whatever it measured, and never wins.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from virnuc_profiler.analysis.diagnosis.contention import other_process_sm_time
from virnuc_profiler.analysis.gpu.throttling import ThrottleTimeline, hard_throttling
from virnuc_profiler.analysis.host.interruptions import was_interrupted
from virnuc_profiler.analysis.selection import CONTAMINATED, INTERRUPTED, THROTTLED
from virnuc_profiler.sweep.plan.workload import MAX_SEQUENCE_LENGTH
from virnuc_profiler.sweep.results.result import FAILED, OOM, OTHER_PROCESS_SHARE, Result
from virnuc_profiler.sweep.trial.failure import Failure, describe_failure, release_traceback
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.number_text import counted, number
from virnuc_profiler.telemetry.run_result import RunResult

OK: Final = "ok"

_ODDITIES: Final = {
    "truncated_sequences": ("sequence", "sequences", f"cut to {MAX_SEQUENCE_LENGTH:,} residues"),
    "unknown_residues": ("letter", "letters", "that the model does not know"),
    "oversize_batches": ("batch", "batches", "over the token budget"),
}

_MEASURED: Final = ("elapsed_sec", "stopped_sec", "sequences_per_sec", "tokens_per_sec")

_log = logging.getLogger(__name__)


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


def failed_load(error: Exception, configuration: Configuration, what: str) -> Result:
    """Make the result of a configuration whose model or target is not there, and log why.

    Args:
        error: Why it is not there; its traceback is released.
        configuration: Configuration that was to be measured.
        what: What did not work, such as ``its model could not be loaded``.
    """
    failure = describe_failure(error)
    release_traceback(error)
    _log.warning("%s failed, %s: %s", configuration, what, failure.message)
    return failed_result(replace(failure, message=f"{what}: {failure.message}"), configuration)


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


def warn_of_oddities(result: Result, tokens: int | None = None) -> bool:
    """Warn of what a successful run did not run as it stands in the file, and return whether it did so.

    Args:
        result: Result of any status.
        tokens: Tokens that a program of its own was given in all passes; None if it does not count them itself.
    """
    if not result.succeeded:
        return False
    odd = [
        f"{counted(count, one, many)} {what}"
        for name, (one, many, what) in _ODDITIES.items()
        if (count := getattr(result, name))
    ]
    if odd:
        _log.warning("not everything was run as it stands in the file: %s", "; ".join(odd))
    recorded: int = (result.evidence or {}).get("tokens") or 0
    too_many = tokens is not None and recorded > tokens
    if too_many:
        _log.warning(
            "%s recorded, but the sequences have %s, BOS and EOS included: if that is padding, leave it out of "
            "cu_seqlens, or tokens/s are too high",
            counted(recorded, "token"),
            number(tokens),
        )
    return bool(odd) or too_many
