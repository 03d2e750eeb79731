# SPDX-License-Identifier: MIT
"""Results of trials whose process crashed or exceeded a deadline, and the exceptions that carry the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from virnuc_profiler.errors import DeadlineExceeded, VirnucError
from virnuc_profiler.sweep.results.result import FAILED, OOM, Result
from virnuc_profiler.sweep.trial.error_evidence import cuda_evidence
from virnuc_profiler.sweep.worker.deadlines import ExpiredDeadline
from virnuc_profiler.targets.knobs.configuration import Configuration

_CUDA_ERROR = "CUDA error: "


class ProcessLost(VirnucError):
    """The model process has died, or has violated the protocol.

    Attributes:
        evidence: Exit code or signal, OOM-kill counters and last output of the process.
        out_of_memory: Whether the kernel's OOM killer killed the process.
        cuda_error: Whether the process aborted because of a CUDA error, as PyTorch does for an error in a destructor.
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
    """The model process exceeded a deadline and was ended.

    Attributes:
        evidence: The deadline, how the process ended, and its last output.
    """

    def __init__(self, message: str, evidence: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.evidence = dict(evidence)


def timeout_error(expired: ExpiredDeadline, exit_info: Mapping[str, Any], output_tail: list[str]) -> ProcessTimeout:
    """Build the exception for a process that was ended because a deadline expired.

    Args:
        expired: The expired deadline.
        exit_info: Information on the end of the process, as :meth:`ModelProcess.end` returns it.
        output_tail: Last lines of the process's output.
    """
    evidence = {"deadline": expired.deadline, "limit_s": expired.limit_s, "waited_s": expired.waited_s}
    return ProcessTimeout(str(expired), {**evidence, **exit_info, "stderr": output_tail})


def crash_error(exit_info: Mapping[str, Any], output_tail: list[str], oom_kills: Mapping[str, int]) -> ProcessLost:
    """Build the exception for a process that died without being ended by the supervisor.

    Args:
        exit_info: Information on the end of the process, as :meth:`ModelProcess.end` returns it.
        output_tail: Last lines of the process's output.
        oom_kills: Growth of the kernel's OOM-kill counters during the request, by counter.
    """
    died_of = exit_info["signal"]
    out_of_memory = died_of == "SIGKILL" and bool(oom_kills)
    end = f"was killed by {died_of}" if died_of else f"ended with exit code {exit_info['exit_code']}"
    cause = ", by the kernel, since the host's memory ran out" if out_of_memory else ""
    last_line = next((line for line in output_tail if _CUDA_ERROR in line), output_tail[-1] if output_tail else "")
    printed = f"; it last printed: {last_line.strip()}" if last_line else ""
    aborted_over_cuda = died_of == "SIGABRT" and _CUDA_ERROR in printed
    cuda = cuda_evidence(RuntimeError("\n".join(output_tail))) if aborted_over_cuda else {}
    evidence = {**exit_info, **cuda, "oom_kills": oom_kills, "stderr": output_tail}
    message = f"the model's process (pid {exit_info['pid']}) {end}{cause}{printed}"
    return ProcessLost(message, evidence, out_of_memory=out_of_memory, cuda_error=aborted_over_cuda)


def failed_trial(configuration: Configuration, error: Exception, telemetry: Mapping[str, str] | None) -> Result:
    """Build the result of a trial that the model process could not report, with the keys of any failed trial.

    Args:
        configuration: Configuration of the trial.
        error: Error that ended the trial.
        telemetry: ``telemetry_path`` and ``run_path`` of the files that the process has still written. None if it has
            written none.
    """
    reason, memory = "error", None
    if isinstance(error, DeadlineExceeded):
        reason = "timeout"
    elif isinstance(error, ProcessLost) and error.out_of_memory:
        reason, memory = OOM, "host"
    elif isinstance(error, ProcessLost) and error.cuda_error:
        reason = "cuda_error"
    rest = "its telemetry has the batches until then" if telemetry else "its telemetry is missing or incomplete"
    return Result(
        status=FAILED,
        configuration=configuration,
        reason=reason,
        outcome=reason,
        message=f"{error}; {rest}",
        memory=memory,
        evidence=getattr(error, "evidence", {}),
        telemetry_path=None if telemetry is None else telemetry["telemetry_path"],
        run_path=None if telemetry is None else telemetry["run_path"],
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
    return replace(result, reason=OOM, outcome=OOM, memory="device")
