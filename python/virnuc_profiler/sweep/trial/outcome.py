# SPDX-License-Identifier: MIT
"""What became of a run, as results say it: ``outcome`` and its ``evidence``.

A throttled run is a success that is flagged: its figures are true, but of a device that was held down, so it never wins
while one that was not succeeded. A contaminated run counts as failed, whatever it measured, and never wins at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from virnuc_profiler.analysis.gpu.throttling import THROTTLED_SHARE, ThrottleTimeline, hard_throttle_shares
from virnuc_profiler.analysis.selection import CONTAMINATED, THROTTLED
from virnuc_profiler.sweep.trial.failure import OOM, Failure
from virnuc_profiler.telemetry.run_result import RunResult

OK: Final = "ok"

_MEASURED: Final = ("elapsed_sec", "sequences_per_sec", "tokens_per_sec")


def successful_outcome(run: RunResult) -> dict[str, Any]:
    """``ok`` or ``throttled``, and what shows it."""
    counts = {"sequences": run.total_sequences, "tokens": run.total_tokens, "batches": len(run.batches)}
    window = (run.host_start_ns, run.host_end_ns)
    held = None if run.gpu is None else hard_throttle_shares(ThrottleTimeline(run.gpu), window)
    if held is None:
        return {"outcome": OK, "evidence": {**counts, "held_down_share": None}}
    share, reasons = held
    outcome = THROTTLED if share > THROTTLED_SHARE else OK
    return {"outcome": outcome, "evidence": {**counts, "held_down_share": share, "reasons": reasons}}


def failed_result(failure: Failure) -> dict[str, Any]:
    """How a failure begins a result."""
    memory = {"memory": failure.memory} if failure.reason == OOM else {}
    return {
        "status": "failed",
        "reason": failure.reason,
        "message": failure.message,
        **memory,
        "outcome": failure.reason,
        "evidence": dict(failure.evidence),
    }


def without_contamination(result: dict[str, Any], left_behind: Sequence[str]) -> dict[str, Any]:
    """`result` if nothing was left behind when its run began; else a failure that says what, and what was measured."""
    if not left_behind:
        return result
    instead: Mapping[str, Any] = {key: result.get(key) for key in ("outcome", "message", "evidence", *_MEASURED)}
    kept = ("config", "peak_memory_gb", "truncated_sequences", "unknown_residues")
    return {
        "status": "failed",
        "reason": CONTAMINATED,
        "message": f"an earlier run was not gone when this one began: {'; '.join(left_behind)}",
        "outcome": CONTAMINATED,
        "evidence": {
            "left_behind": list(left_behind),
            "measured_nevertheless": {key: value for key, value in instead.items() if value is not None},
        },
        **{key: result.get(key) for key in kept},
    }
