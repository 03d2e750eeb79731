# SPDX-License-Identifier: MIT
"""What becomes of a trial whose process could not tell: exceptions with evidence, and the results made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virnuc_profiler.errors import DeadlineExceeded, VirnucError
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.trial.error_evidence import cuda_evidence
from virnuc_profiler.sweep.worker.deadlines import ExpiredDeadline

_OOM = "OOM"
_CUDA_ERROR = "CUDA error: "


class ProcessLost(VirnucError):
    """The model process has died, or talks nonsense.

    Attributes:
        evidence: what is known of it.
        out_of_memory: whether the kernel killed it for want of host memory.
        cuda_error: whether it aborted over a CUDA error, as PyTorch does where it meets one in a destructor.
    """

    def __init__(
        self,
        message: str,
        evidence: Mapping[str, Any],
        *,
        out_of_memory: bool = False,
        cuda_error: bool = False,
    ) -> None:
        super().__init__(message)
        self.evidence = dict(evidence)
        self.out_of_memory = out_of_memory
        self.cuda_error = cuda_error


class ProcessTimeout(DeadlineExceeded):
    """The model process has taken too long, and was ended.

    Attributes:
        evidence: which deadline it was, and what is known of the process.
    """

    def __init__(self, message: str, evidence: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.evidence = dict(evidence)


def late(passed: ExpiredDeadline, fate: Mapping[str, Any], output_tail: list[str]) -> ProcessTimeout:
    """Of a process that was ended because a deadline had passed."""
    evidence = {"deadline": passed.deadline, "limit_s": passed.limit_s, "waited_s": passed.waited_s}
    return ProcessTimeout(str(passed), {**evidence, **fate, "stderr": output_tail})


def lost(fate: Mapping[str, Any], output_tail: list[str], oom_kills: Mapping[str, int]) -> ProcessLost:
    """Of a process that has ended by itself.

    Args:
        fate: as :meth:`ModelProcess.end` tells it.
        output_tail: the last lines that it printed.
        oom_kills: those of the kernel's counters of processes killed for want of memory that have grown meanwhile.
    """
    out_of_memory = fate["signal"] == "SIGKILL" and bool(oom_kills)
    end = f"was killed by {fate['signal']}" if fate["signal"] else f"ended with exit code {fate['exit_code']}"
    cause = ", by the kernel, since the host's memory ran out" if out_of_memory else ""
    last_word = next((line for line in output_tail if _CUDA_ERROR in line), output_tail[-1] if output_tail else None)
    words = f"; it last printed: {last_word.strip()}" if last_word else ""
    aborted_over_cuda = fate["signal"] == "SIGABRT" and _CUDA_ERROR in words
    cuda = cuda_evidence(RuntimeError("\n".join(output_tail))) if aborted_over_cuda else {}
    evidence = {**fate, **cuda, "oom_kills": oom_kills, "stderr": output_tail}
    message = f"the model's process (pid {fate['pid']}) {end}{cause}{words}"
    return ProcessLost(message, evidence, out_of_memory=out_of_memory, cuda_error=aborted_over_cuda)


def failed_trial(configuration: Configuration, error: Exception, telemetry: Mapping[str, str] | None) -> dict[str, Any]:
    """The result of a trial that ended with `error`, with the keys of one that the process itself would report.

    Args:
        configuration: what was to be measured.
        error: why it was not.
        telemetry: ``telemetry_path`` and ``run_path``, if the process has still written them.
    """
    reason, memory = "error", {}
    if isinstance(error, DeadlineExceeded):
        reason = "timeout"
    elif isinstance(error, ProcessLost) and error.out_of_memory:
        reason, memory = _OOM, {"memory": "host"}
    elif isinstance(error, ProcessLost) and error.cuda_error:
        reason = "cuda_error"
    rest = "what was measured until then is in its telemetry" if telemetry else "its telemetry is missing or partial"
    return {
        "status": "failed",
        "reason": reason,
        "outcome": reason,
        "message": f"{error}; {rest}",
        **memory,
        "config": configuration.as_dict(),
        "peak_memory_gb": None,
        "truncated_sequences": None,
        "unknown_residues": None,
        "telemetry_path": None,
        "run_path": None,
        **(telemetry or {}),
        "cleanup": None,
        "evidence": getattr(error, "evidence", {}),
    }
