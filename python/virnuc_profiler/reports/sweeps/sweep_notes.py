# SPDX-License-Identifier: MIT
"""What is said below a table of a sweep: notes, and the configurations that were disturbed or failed."""

from __future__ import annotations

from collections.abc import Sequence

from virnuc_profiler.reports.figures import NOT_MEASURED, counted, number, share
from virnuc_profiler.reports.sweeps.sweep_columns import (
    MARK,
    UNBOUNDED,
    gigabytes,
    interval,
    named,
    off_by,
    reason,
    seconds,
    seen,
)
from virnuc_profiler.reports.sweeps.sweep_verdicts import missed_requirement_note, verdicts
from virnuc_profiler.sweep.results.document import Document
from virnuc_profiler.sweep.results.result import OOM, Result
from virnuc_profiler.telemetry.values import printable


def remarks(document: Document) -> list[str]:
    """Return the lines below a table: what the best means, notes, then what was disturbed or failed.

    Args:
        document: Document of a step.
    """
    return [
        *verdicts(document),
        *notes(document),
        *_throttled(document),
        *_doubtful(document),
        *_interrupted(document),
        *_failures(document),
    ]


def held_down(result: Result) -> str:
    """Return for how long and why a device was held down."""
    evidence = result.evidence or {}
    held, reasons = evidence.get("held_down_share"), evidence.get("reasons") or {}
    sampled = evidence.get("sampled_share")
    time = "the time" if sampled is None else f"the {share(sampled)} of the time that was sampled"
    return printable(f"{share(held)} of {time}: {', '.join(reasons) or NOT_MEASURED}")


def stood_still(result: Result) -> str:
    """Return for how long a run stood still."""
    evidence = result.evidence or {}
    stopped, asleep = evidence.get("stopped_sec"), evidence.get("suspended_sec")
    parts = [f"stopped for {seconds(stopped)} of {seconds(result.elapsed_sec)}"] if stopped else []
    parts += [f"the machine slept for {seconds(asleep)}"] if asleep else []
    return printable("; ".join(parts) or NOT_MEASURED)


def failure_text(result: Result) -> str:
    """Return how a configuration failed."""
    if result.predicted:
        available = result.available_memory_gb
        predicted = number(result.predicted_peak_memory_gb, 2, " GB", beside=available)
        return f"predicted: {predicted} of {gigabytes(available)}, not tried"
    if result.reason == OOM:
        where = {"host": " of the host", "shared memory": " of shared memory"}.get(str(result.memory), "")
        return f"peak memory: {gigabytes(result.peak_memory_gb)} before OOM{where}"
    return printable(str(result.message or "no message"))


def rate_notes(results: Sequence[Result]) -> list[str]:
    """Return what must be known of the rates and intervals of results.

    Args:
        results: The results.
    """
    notes = []
    short = [one for one in results if one.start_up_sec and one.standing and not one.standing.steady]
    if short:
        whole = any(one.rough_sequences_per_sec is None for one in short)
        if len(results) == 1:
            said = f"Seq/sec {'includes start-up' if whole else 'is rough'}: the run is"
        else:
            what = "include start-up" if whole else "are rough"
            said = f"Seq/sec of {len(short)} of {counted(len(results), 'configuration')} {what}: the runs are"
        notes.append(f"{said} too short for a steady rate; use more sequences or --trial-seconds.")
    known = [one.standing for one in results if one.standing is not None]
    ends = [(each.rate_low, each.rate_high) for each in known]
    ends += [(each.speedup_low, each.speedup_high) for each in known]
    if any(interval(low, high).endswith(UNBOUNDED) for low, high in ends):
        notes.append(f"{UNBOUNDED} Too little was repeated so far, or it differs too much, for an interval.")
    return notes


def notes(document: Document) -> list[str]:
    """Return what must be known of a table: what is missing, mixed, rough or doubtful in it.

    Args:
        document: Document of a step.
    """
    found = []
    if document.constraint_met is False:
        found.append(missed_requirement_note(document))
    if not document.complete and document.repeats > 1 and len(document.results) == document.planned:
        found.append(f"Incomplete: not every configuration was run in all {document.repeats} blocks.")
    elif not document.complete:
        found.append(f"Incomplete: {len(document.results)} of {counted(document.planned, 'configuration')} were run.")
    mixed = [result.measured_under for result in document.results if result.measured_under]
    if mixed:
        what = ", ".join(dict.fromkeys(str(name) for under in mixed for name in under))
        found.append(f"Mixed: {len(mixed)} of {len(document.results)} differ from the rest in {printable(what)}.")
    found += rate_notes(document.results)
    if (off := max(map(off_by, document.results), default=0.0)) > 0:
        found.append(f"{MARK} GPU Util may be off by up to {off:.0f} points: short runs, or sampled in part.")
    if any(result.succeeded and result.gpu_util is None and seen(result) for result in document.results):
        found.append(f"GPU Util {NOT_MEASURED}: the run is too short to sample, or most of it was not sampled.")
    if document.best is not None and document.best.throttled:
        found.append("Every configuration that succeeded was throttled: compare on a cooler device.")
    return found


def _throttled(document: Document) -> list[str]:
    """Return the throttled configurations, which never win while others succeeded, with the reasons."""
    held = [result for result in document.results if result.succeeded and result.throttled]
    if not held:
        return []
    lines = [f"  {named(result.configuration, document.grid)} ({held_down(result)})" for result in held]
    return ["", "Throttled configurations (chosen only if all were):", *lines]


def _doubtful(document: Document) -> list[str]:
    """Return the configurations that something disturbed each time they were measured."""
    lines = [
        f"  {named(one.configuration, document.grid)} ({printable('; '.join(one.standing.doubts))})"
        for one in document.results
        if one.succeeded and not one.throttled and not one.interrupted and one.standing and one.standing.doubts
    ]
    return ["", "Disturbed each time they were measured:", *lines] if lines else []


def _interrupted(document: Document) -> list[str]:
    """Return the interrupted configurations, which never win, with the time for which they stood still."""
    stopped = [result for result in document.results if result.interrupted]
    if not stopped:
        return []
    lines = [f"  {named(result.configuration, document.grid)} ({stood_still(result)})" for result in stopped]
    return ["", "Interrupted configurations (never chosen; --resume measures them again):", *lines]


def _failures(document: Document) -> list[str]:
    by_reason: dict[str, list[Result]] = {}
    for result in document.results:
        if not result.succeeded:
            by_reason.setdefault(reason(result), []).append(result)
    lines: list[str] = []
    for why, failed in by_reason.items():
        lines += ["", f"Failed configurations ({printable(why)}):"]
        lines += [f"  {named(result.configuration, document.grid)} ({failure_text(result)})" for result in failed]
    return lines
