# SPDX-License-Identifier: MIT
"""What is found out about one run as a whole: its summary, its diagnosis, and what the diagnosis is based on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from virnuc_profiler.analysis.diagnosis.diagnose import Diagnosis, diagnose_observation
from virnuc_profiler.analysis.diagnosis.observation import observe
from virnuc_profiler.analysis.model_cost import flops_by_batch, recorded_ceiling, recorded_shape
from virnuc_profiler.analysis.summary.host_keys import host_keys
from virnuc_profiler.analysis.summary.run_summary import flops_keys, packing_keys, profiling_cost_keys, run_summary
from virnuc_profiler.analysis.summary.sampled_keys import sampled_keys
from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.analysis.timing.steady_state import steady_state
from virnuc_profiler.telemetry.rates import ratio, sequences_per_pass
from virnuc_profiler.telemetry.run_result import RunResult

MAX_JUDGED_BATCHES: Final = 300_000
"""Number of batches up to which a run is diagnosed as a whole, which takes some 3 kB of memory for each."""

JUDGED_PART: Final = 200_000
"""Number of first batches that the diagnosis of a longer run is based on."""


@dataclass(frozen=True)
class RunFindings:
    """What is found out about one run.

    Attributes:
        run: The run.
        summary: Keys of its telemetry summary.
        diagnosis: Its diagnosis, or that of its first batches.
        judged_batches: Number of batches that the diagnosis is based on; None if these are all.
    """

    run: RunResult
    summary: Mapping[str, Any]
    diagnosis: Diagnosis
    judged_batches: int | None = None

    @property
    def tokens_per_second(self) -> float | None:
        """Rate of the whole run, its start-up included; None without the number of tokens."""
        return ratio(self.run.total_tokens, self.run.elapsed_s)

    @property
    def sequences_per_second(self) -> float | None:
        """Rate of the whole run in sequences; None without their number."""
        return ratio(self.run.total_sequences, self.run.elapsed_s)


def findings_of(run: RunResult, *, max_judged: int = MAX_JUDGED_BATCHES, part: int = JUDGED_PART) -> RunFindings:
    """Summarize and diagnose a run; the diagnosis of a very long one, and what belongs to it, is that of its beginning.

    Args:
        run: The run.
        max_judged: Number of batches up to which the run is diagnosed as a whole.
        part: Number of first batches that are diagnosed otherwise.
    """
    if len(run.batches) <= max_judged:
        return _judged(run)
    judged = _judged(_beginning(run, part))
    return RunFindings(run, {**judged.summary, **_whole_run_keys(run)}, judged.diagnosis, part)


def _judged(run: RunResult) -> RunFindings:
    shape, ceiling = recorded_shape(run.metadata), recorded_ceiling(run.metadata)
    observation = observe(run, shape)
    diagnosis = diagnose_observation(observation, run, ceiling)
    summary = run_summary(run, shape=shape, ceiling=ceiling, judged=(observation, diagnosis))
    return RunFindings(run, summary, diagnosis)


def _beginning(run: RunResult, batches: int) -> RunResult:
    """Return the run as if it had ended with the completion of its first batches."""
    table = run.batches[:batches]
    return replace(run, batches=table, host_end_ns=int(completions_of(table).at_ns.max()))


def _whole_run_keys(run: RunResult) -> dict[str, Any]:
    """Return the summary keys of all batches that take no record for each of them."""
    shape = recorded_shape(run.metadata)
    flops = None if shape is None else flops_by_batch(run.batches, shape)
    steady = steady_state(run.batches, flops, sequences_per_pass(run.metadata))
    return {
        "elapsed_seconds": run.elapsed_s,
        "warm_up_batches": steady.warm_up_batches,
        "steady_tokens_per_sec": steady.tokens_per_sec,
        "steady_sequences_per_sec": steady.sequences_per_sec,
        "steady_interval": None if steady.interval is None else steady.interval.to_json(),
        "dropped_device_timings": run.device.dropped_batches if run.device.timed else None,
        **flops_keys(run, shape, recorded_ceiling(run.metadata)),
        **profiling_cost_keys(run),
        **host_keys(run),
        **packing_keys(run.batches.packed()),
        **sampled_keys(run),
    }
