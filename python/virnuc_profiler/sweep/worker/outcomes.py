# SPDX-License-Identifier: MIT
"""What becomes of a trial whose process could not tell: exceptions with evidence, and the results made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from virnuc_profiler.errors import DeadlineExceeded, VirnucError
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.results.result import FAILED, Result
from virnuc_profiler.sweep.worker.deadlines import Passed

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


class DeadlinePassed(DeadlineExceeded):
    """The model process has taken too long, and was ended.

    Attributes:
        evidence: which deadline it was, and what is known of the process.
    """

    def __init__(self, message: str, evidence: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.evidence = dict(evidence)


def late(passed: Passed, fate: Mapping[str, Any], last_words: list[str]) -> DeadlinePassed:
    """Of a process that was ended because a deadline had passed."""
    evidence = {"deadline": passed.deadline, "limit_s": passed.limit_s, "waited_s": passed.waited_s}
    return DeadlinePassed(str(passed), {**evidence, **fate, "stderr": last_words})


def lost(fate: Mapping[str, Any], last_words: list[str], oom_kills: Mapping[str, int]) -> ProcessLost:
    """Of a process that has ended by itself.

    Args:
        fate: as :meth:`ModelProcess.end` tells it.
        last_words: the last lines that it printed.
        oom_kills: those of the kernel's counters of processes killed for want of memory that have grown meanwhile.
    """
    out_of_memory = fate["signal"] == "SIGKILL" and bool(oom_kills)
    end = f"was killed by {fate['signal']}" if fate["signal"] else f"ended with exit code {fate['exit_code']}"
    cause = ", by the kernel, since the host's memory ran out" if out_of_memory else ""
    last_word = next((line for line in last_words if _CUDA_ERROR in line), last_words[-1] if last_words else None)
    words = f"; it last printed: {last_word.strip()}" if last_word else ""
    aborted_over_cuda = fate["signal"] == "SIGABRT" and _CUDA_ERROR in words
    cuda = _cuda_evidence(last_words) if aborted_over_cuda else {}
    evidence = {**fate, **cuda, "oom_kills": oom_kills, "stderr": last_words}
    message = f"the model's process (pid {fate['pid']}) {end}{cause}{words}"
    return ProcessLost(message, evidence, out_of_memory=out_of_memory, cuda_error=aborted_over_cuda)


def _cuda_evidence(last_words: list[str]) -> dict[str, Any]:
    from virnuc_profiler.sweep.trial.failure import cuda_evidence  # needs PyTorch, which a supervisor does not load

    return cuda_evidence(RuntimeError("\n".join(last_words)))


def failed_trial(configuration: Configuration, error: Exception, files: Mapping[str, str] | None) -> Result:
    """Make the result of a trial that ended with an error of its process.

    Args:
        configuration: Configuration that was to be measured.
        error: Why it was not measured to the end.
        files: ``telemetry_path`` and ``run_path``, if the process has still written them; else None.
    """
    reason, memory = "error", None
    if isinstance(error, DeadlineExceeded):
        reason = "timeout"
    elif isinstance(error, ProcessLost) and error.out_of_memory:
        reason, memory = _OOM, "host"
    elif isinstance(error, ProcessLost) and error.cuda_error:
        reason = "cuda_error"
    rest = "what was measured until then is in its telemetry" if files else "its telemetry is missing or partial"
    return Result(
        status=FAILED,
        configuration=configuration,
        reason=reason,
        outcome=reason,
        message=f"{error}; {rest}",
        memory=memory,
        evidence=getattr(error, "evidence", {}),
        telemetry_path=None if files is None else files["telemetry_path"],
        run_path=None if files is None else files["run_path"],
    )


def unloadable(configuration: Configuration, error: Exception) -> Result:
    """Make the result of a configuration whose model could not be loaded.

    Args:
        configuration: Configuration that was to be measured.
        error: Why its model could not be loaded.
    """
    result = replace(failed_trial(configuration, error, None), message=f"its model could not be loaded: {error}")
    if "CUDA out of memory" not in str(error):  # PyTorch's error has arrived as text
        return result
    return replace(result, reason=_OOM, outcome=_OOM, memory="device")
