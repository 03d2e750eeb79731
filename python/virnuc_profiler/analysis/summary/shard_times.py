# SPDX-License-Identifier: MIT
"""When the shards of a job ran, and whether two files hold the same run, from the timestamps and ids in the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import combinations, pairwise
from typing import Any, NamedTuple

from virnuc_profiler.analysis.timing.intervals import Interval, union

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class JobTimes:
    """When the shards of a job ran.

    Attributes:
        seconds: Time during which at least one shard ran.
        overlap: Share of that time during which all shards ran at once.
        pause_seconds: Longest time between two shards during which none ran.
    """

    seconds: float
    overlap: float
    pause_seconds: float


def job_times(spans: Sequence[Interval]) -> JobTimes:
    """Return when a job ran.

    Args:
        spans: Start and end of each shard, ns, on one clock.
    """
    running = union(spans)
    running_ns = sum(end - start for start, end in running)
    together_ns = max(0, min(end for _, end in spans) - max(start for start, _ in spans))
    pauses = [after[0] - before[1] for before, after in pairwise(running)]
    return JobTimes(
        seconds=running_ns / 1e9,
        overlap=together_ns / running_ns if running_ns else 0.0,
        pause_seconds=max(pauses, default=0) / 1e9,
    )


def shard_spans(documents: Sequence[Mapping[str, Any]], seconds: Sequence[float]) -> list[Interval | None]:
    """Return start and end of each shard, ns since 1970; None for files that do not say when they ran.

    A run's ``started_at`` is exact. Without it, the run counts as ended when its last batch completed. Local times
    without an offset can be compared with each other only, so beside files with offsets they count as unknown.

    Args:
        documents: Valid telemetry documents.
        seconds: Wall time of each shard.
    """
    found = [_span(document, elapsed) for document, elapsed in zip(documents, seconds, strict=True)]
    absolute = any(span is not None and span[2] for span in found)
    return [None if span is None or span[2] != absolute else span[:2] for span in found]


def _span(document: Mapping[str, Any], elapsed_seconds: float) -> tuple[int, int, bool] | None:
    """Return start and end of a shard, and whether they have an offset."""
    elapsed_ns = round(elapsed_seconds * 1e9)
    started = _moment(document.get("run_metadata", {}).get("started_at"))
    if started is not None:
        return started.at_ns, started.at_ns + elapsed_ns, started.absolute
    moments = [_moment(record.get("timestamp")) for record in document["per_batch_metrics"]]
    ended = max((moment for moment in moments if moment is not None), default=None)
    return None if ended is None else (ended.at_ns - elapsed_ns, ended.at_ns, ended.absolute)


def last_completion_ns(document: Mapping[str, Any]) -> int | None:
    """Return when the last batch of a document completed, ns since 1970; None if it does not say so.

    Args:
        document: Valid telemetry document.
    """
    moments = [_moment(record.get("timestamp")) for record in document["per_batch_metrics"]]
    return max((moment.at_ns for moment in moments if moment is not None and moment.absolute), default=None)


def repeated_run(documents: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """Return the places of two documents that certainly hold the same run, or parts of it; None if there are none.

    The evidence is a batch of the same number and counts that completed in the same microsecond, or whose record is
    the same throughout and states a fraction of a second, or the same run id and start. Ranks in lockstep share
    milliseconds and counts, but not all measured times. Run ids alone are no evidence: a job may give all of its shards
    the same.

    Args:
        documents: Valid telemetry documents.
    """
    place_of: dict[tuple[Any, ...], int] = {}
    for place, document in enumerate(documents):
        for record in document["per_batch_metrics"]:
            key = _identity(record)
            if key is not None and (other := place_of.setdefault(key, place)) != place:
                return other, place
    pairs = combinations(range(len(documents)), 2)
    return next((pair for pair in pairs if _same_start(*(documents[place] for place in pair))), None)


def _same_start(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    one, other = (document.get("run_metadata", {}) for document in (first, second))
    if one.get("run_id") is None or one.get("run_id") != other.get("run_id"):
        return False
    if one.get("started_at") is None and other.get("started_at") is None:
        return first == second
    return one.get("started_at") == other.get("started_at") and not _on_other_devices(one, other)


def _on_other_devices(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    captures = [each.get("device_capture") for each in (one, other)]
    uuids = [capture.get("uuid") for capture in captures if isinstance(capture, Mapping)]
    return len(uuids) == 2 and None not in uuids and uuids[0] != uuids[1]


def _identity(record: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return what only one batch of one run has; None if its timestamp has no fraction of a second."""
    moment = _moment(record.get("timestamp"))
    if moment is None or moment.at_ns % 1_000_000_000 == 0:
        return None
    if moment.at_ns % 1_000_000 == 0:
        return tuple(sorted((name, repr(value)) for name, value in record.items()))
    return tuple(record.get(name) for name in ("batch_idx", "timestamp", "num_sequences", "num_tokens"))


class _Moment(NamedTuple):
    at_ns: int  # since 1970, in UTC or in the writer's local time
    absolute: bool


def _moment(timestamp: Any) -> _Moment | None:
    """Read a timestamp; None if it is none."""
    if isinstance(timestamp, int | float) and not isinstance(timestamp, bool):
        return _Moment(round(timestamp * 1e9), absolute=True) if abs(timestamp) < 1e12 else None
    if not isinstance(timestamp, str):
        return None
    try:
        moment = datetime.fromisoformat(timestamp.replace("Z", "+00:00"))
    except ValueError:
        return None
    absolute = moment.tzinfo is not None
    moment = moment if absolute else moment.replace(tzinfo=timezone.utc)
    return _Moment((moment - _EPOCH) // timedelta(microseconds=1) * 1000, absolute)
