# SPDX-License-Identifier: MIT
"""A run on one page: what ran, how fast, what limits it and what to do, and the requirements that it misses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any, Final

from virnuc_profiler.analysis.diagnosis.diagnose import diagnose_run
from virnuc_profiler.analysis.host.interruptions import summary_interrupted
from virnuc_profiler.analysis.summary.performance_figures import Performance, summarize_performance
from virnuc_profiler.analysis.summary.requirements import PERF_02_PERCENT, PERF_05_EFFICIENCY, Requirement
from virnuc_profiler.reports.coverage_text import with_coverage
from virnuc_profiler.reports.figures import counted, number, percent, rate, share, with_interval
from virnuc_profiler.reports.kernel_table import kernel_sentence
from virnuc_profiler.reports.steady_rate_text import steady_interval_text
from virnuc_profiler.reports.telemetry_file import load_telemetry
from virnuc_profiler.telemetry.rates import (
    PROJECTED_SEQUENCES,
    ended_early,
    is_miscounted,
    passes_of,
    ratio,
    sequences_per_pass,
)
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.values import printable

_INDENT: Final = " " * len("Verdict: ")


def render_page(run: RunResult, columns: int = 80) -> str:
    """Render the page on a run.

    Args:
        run: Run to render.
        columns: Width of the page.
    """
    performance = summarize_performance(load_telemetry(run))
    lines = [
        *_ran(performance),
        *_stopped(performance.summary),
        *_rates(performance.summary),
        _packing(performance),
        *_gpu(performance),
        *_kernels(run),
        *_requirements(performance),
        f"Verdict: {diagnose_run(run).sentence}",
    ]
    return "\n".join(piece for line in lines for piece in _wrapped(line, columns)) + "\n"


def _wrapped(line: str, columns: int) -> list[str]:
    text = printable(line, 2000)
    return wrap(text, columns, subsequent_indent=_INDENT, break_on_hyphens=False, break_long_words=False)


def _ran(performance: Performance) -> Iterator[str]:
    summary, planned = performance.summary, sequences_per_pass(performance.metadata)
    sequences, batches = summary["total_sequences"] or 0, summary["total_batches"] or 0
    early = ended_early(performance.metadata, sequences)
    passes = passes_of(performance.metadata) or 0
    ran = counted(sequences, "sequence")
    if planned is not None and sequences > planned and passes:
        ran += f" in {counted(passes, 'pass', 'passes')} over {planned:,}"
    elif early:
        ran = f"{sequences:,} of {counted(planned or 0, 'sequence')}"
    how = f"{counted(summary['total_tokens'] or 0, 'token')} in {counted(batches, 'batch', 'batches')}"
    start = summary.get("start_up_seconds")
    began = "" if start is None else f", {number(start, 1, ' s')} of it until the first batch was complete"
    ended = "" if not early else " (its counts differ)" if is_miscounted(performance.metadata) else " (it ended early)"
    yield f"Ran:     {ran}{ended}, {how}, {number(summary['elapsed_seconds'], 1, ' s')}{began}"


def _stopped(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield that the run stood still for so long that its rates, which include it, say nothing."""
    if summary_interrupted(summary):
        seconds = (summary.get("stopped_seconds") or 0.0) + (summary.get("suspended_seconds") or 0.0)
        yield f"Stopped: {number(seconds, 1, ' s')} of that, by a signal or with the machine: measure again"


def _rates(summary: Mapping[str, Any]) -> Iterator[str]:
    whole = rate(ratio(summary["sequences_per_hour"], 3600))
    yield f"Rate:    {whole} sequences/s, {number(summary['avg_tokens_per_sec'])} tokens/s over the whole run"
    if summary.get("steady_tokens_per_sec") is not None:
        steady = rate(summary.get("steady_sequences_per_sec"))
        known = steady_interval_text(summary)
        tokens = f"{number(summary['steady_tokens_per_sec'])} tokens/s{f' ({known})' if known else ''}"
        yield f"{_INDENT}{steady} sequences/s, {tokens} after warm-up"
    interval = summary.get("projected_6M_hours_interval") or {}
    if interval.get("low") is not None:
        hours = f"{number(summary['projected_6M_hours_steady'], 2)} hours"
        hours = with_interval(hours, interval["low"], interval.get("high"))
        yield f"{_INDENT}{hours} for {PROJECTED_SEQUENCES:,} such sequences"


def _packing(performance: Performance) -> str:
    if performance.padding_share is not None:
        padded = number(performance.summary["padded_tokens"])
        return f"Padding: {share(performance.padding_share)} of the {padded} tokens that were computed"
    return f"Packing: {share(performance.packing.average, beside=PERF_05_EFFICIENCY)} of the token budget"


def _gpu(performance: Performance) -> Iterator[str]:
    if performance.on_cpu:
        return
    (device, *others) = performance.devices
    busy = with_coverage(percent(device.average, beside=PERF_02_PERCENT), device.coverage)
    memory = performance.metadata.get("peak_memory_gb")
    peak = f", {number(memory, 2, ' GB')} of memory at most" if isinstance(memory, int | float) else ""
    if not others:
        yield f"GPU:     {busy} utilization{peak}"


def _kernels(run: RunResult) -> Iterator[str]:
    if run.kernels is not None:
        yield f"Busy:    {kernel_sentence(run.kernels)}"


def _requirements(performance: Performance) -> Iterator[str]:
    """Yield the requirements that the run was measured against, those that it misses with their value."""
    verdicts = [_verdict(one) for one in performance.requirements if one.met is not None]
    if verdicts and not performance.on_cpu:
        yield f"Goals:   {'; '.join(verdicts)}"


def _verdict(requirement: Requirement) -> str:
    what = f"{requirement.name} ({requirement.text})"
    if requirement.met:
        return f"{what} passed"
    unit = f" {requirement.unit}" if requirement.unit[0].isalpha() else requirement.unit
    value = number(requirement.value, 1, unit, beside=requirement.limit)
    return f"{what} FAILED with {value}"
