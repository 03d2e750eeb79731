# SPDX-License-Identifier: MIT
"""What a performance report says, computed from a loaded telemetry document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from virnuc_profiler.analysis.timing.statistics import mean, measured, percentile
from virnuc_profiler.telemetry.summary import summarize

WELL_PACKED = 0.80
"""Batches under this packing efficiency are counted."""

PERF_01_HOURS = 10.0
PERF_02_PERCENT = 70.0
PERF_05_EFFICIENCY = 0.90

_ROUNDING = 1e-9
"""So that a mean of values that are all 0.9 counts as 0.9."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One of the project's performance requirements; ``met`` is None where it was not measured."""

    name: str
    text: str
    value: float | None
    unit: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class Packing:
    """Packing efficiency over the batches that had one, 0 to 1."""

    average: float | None
    minimum: float | None
    batches: int
    under_80_percent: int


@dataclass(frozen=True, slots=True)
class LoaderWait:
    """Time spent waiting for the DataLoader, over the batches that measured it."""

    average_ms: float | None
    p95_ms: float | None
    starved_percent: float | None


@dataclass(frozen=True, slots=True)
class DeviceLoad:
    """GPU utilization of one device, percent: its average, and the lowest and highest of its batches."""

    name: str
    average: float | None
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """What writing checkpoints cost."""

    writes: int
    average_write_ms: float | None
    p95_write_ms: float | None
    max_queue_depth: int | None


@dataclass(frozen=True)
class Performance:
    """Everything that the report prints. ``summary`` has the telemetry summary's keys, completed."""

    source: str
    summary: Mapping[str, Any]
    metadata: Mapping[str, Any]
    packing: Packing
    wait: LoaderWait
    devices: Sequence[DeviceLoad]
    checkpoints: Checkpoints | None
    hardware: Mapping[str, Any]
    requirements: Sequence[Requirement]
    contradictions: Sequence[str]


def summarize_performance(document: Mapping[str, Any], source: str = "") -> Performance:
    """Computes a report's figures.

    Args:
        document: a validated telemetry document, with ``run_metadata``.
        source: what the document is called, e.g. the name of its file.
    """
    records = document["per_batch_metrics"]
    summary = complete_summary(document)
    metadata = document["run_metadata"]
    hardware = metadata.get("hardware")
    return Performance(
        source=source,
        summary=summary,
        metadata=metadata,
        packing=_packing(records, summary),
        wait=_wait(records, summary),
        devices=_devices(records, summary, metadata),
        checkpoints=_checkpoints(records, summary),
        hardware=hardware if isinstance(hardware, Mapping) else {},
        requirements=_requirements(summary),
        contradictions=contradictions(document),
    )


def _packing(records: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> Packing:
    efficiencies = measured(record.get("packing_efficiency") for record in records)
    return Packing(
        average=summary["avg_packing_efficiency"],
        minimum=min(efficiencies, default=None),
        batches=len(efficiencies),
        under_80_percent=sum(efficiency < WELL_PACKED for efficiency in efficiencies),
    )


def _wait(records: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> LoaderWait:
    waits = [record.get("wait_time_ms") for record in records]
    return LoaderWait(mean(waits), percentile(waits, 95), summary["pct_starved"])


def _devices(
    records: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], metadata: Mapping[str, Any]
) -> list[DeviceLoad]:
    """One entry for each ``device`` that the batches name, else for each ``shard_rank``, else one for the run."""
    for key, label in (("device", ""), ("shard_rank", "shard ")):
        by_device: dict[str, list[float | None]] = {}
        for record in records:
            if record.get(key) is not None:
                by_device.setdefault(f"{label}{record[key]}", []).append(record.get("gpu_util"))
        if len(by_device) > 1:
            return [_device(name, mean(values), values) for name, values in sorted(by_device.items())]
    name = metadata.get("device")
    values = [record.get("gpu_util") for record in records]
    return [_device(name if isinstance(name, str) else "GPU", summary["avg_gpu_util"], values)]


def _device(name: str, average: float | None, values: Sequence[float | None]) -> DeviceLoad:
    known = measured(values)
    return DeviceLoad(name, average, min(known, default=None), max(known, default=None))


def _checkpoints(records: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> Checkpoints | None:
    writes = measured(record.get("checkpoint_write_ms") for record in records)
    average, depth = summary.get("avg_checkpoint_write_ms"), summary.get("max_checkpoint_queue_depth")
    if not writes and average is None and depth is None:
        return None
    return Checkpoints(len(writes), average, percentile(writes, 95), depth)


def _requirements(summary: Mapping[str, Any]) -> list[Requirement]:
    hours = summary["projected_6M_hours_tokens"]
    if hours is None:
        hours = summary["projected_6M_hours"]
    load, efficiency = summary["avg_gpu_util"], summary["avg_packing_efficiency"]
    return [
        Requirement(
            "PERF-01",
            f"projected 6M sequences < {PERF_01_HOURS:g} h",
            hours,
            "h",
            None if hours is None else hours < PERF_01_HOURS,
        ),
        Requirement(
            "PERF-02",
            f"GPU utilization >= {PERF_02_PERCENT:g}%",
            load,
            "%",
            None if load is None else load >= PERF_02_PERCENT - _ROUNDING,
        ),
        Requirement(
            "PERF-05",
            f"packing efficiency >= {100 * PERF_05_EFFICIENCY:g}%",
            None if efficiency is None else 100 * efficiency,
            "%",
            None if efficiency is None else efficiency >= PERF_05_EFFICIENCY - _ROUNDING,
        ),
    ]


_TOTALS = {"total_sequences": "num_sequences", "total_tokens": "num_tokens"}


def complete_summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document's summary; what it lacks is computed from its batch records, and None where they lack it too."""
    records = document["per_batch_metrics"]
    given = {key: value for key, value in document["summary"].items() if value is not None}
    if "gpu_sampling_lost_after_seconds" in given:  # a mean over the batches until then would pass for the whole run's
        given.setdefault("avg_gpu_util", None)
    if not records:  # nothing recorded is no proof that nothing was done
        given = {"total_sequences": None, "total_tokens": None, "total_batches": None, **given}
    return {**document["summary"], **summarize(records, None, given)}


def contradictions(document: Mapping[str, Any]) -> list[str]:
    """Where the summary's totals and its batch records do not agree, in words.

    Either batches were not recorded or some were counted twice; rates from such a file cannot be trusted.
    """
    records, summary = document["per_batch_metrics"], document["summary"]
    if not records:
        return []
    found = []
    if summary.get("total_batches") not in (None, len(records)):
        found.append(f"the summary counts {summary['total_batches']:,} batches, the file holds {len(records):,}")
    for total, count in _TOTALS.items():
        counts = [record.get(count) for record in records]
        if summary.get(total) is None or any(value is None for value in counts):
            continue
        if summary[total] != sum(counts):
            found.append(f"the summary's {total} is {summary[total]:,}, the batches add up to {sum(counts):,}")
    return found
