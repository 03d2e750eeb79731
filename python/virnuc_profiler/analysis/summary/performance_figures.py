# SPDX-License-Identifier: MIT
"""Figures of a performance report, computed from a telemetry document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from virnuc_profiler.analysis.gpu.coverage import Coverage
from virnuc_profiler.analysis.summary.requirements import Projections, Requirement, requirements
from virnuc_profiler.analysis.summary.sampled_keys import COVERAGE, UTILIZATION, summary_coverage
from virnuc_profiler.analysis.timing.statistics import mean, measured, percentile
from virnuc_profiler.telemetry.number_text import counted
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.summary import Records, metric_of, summarize

if TYPE_CHECKING:
    from virnuc_profiler.analysis.summary.rank_scaling import RankScaling

WELL_PACKED = 0.80
"""Packing efficiency below which batches are counted as poorly packed."""

_TOTALS = {"total_sequences": "num_sequences", "total_tokens": "num_tokens"}


@dataclass(frozen=True, slots=True)
class Packing:
    """Packing efficiency, 0 to 1, over the batches that have one.

    Attributes:
        average: Mean; None without batches.
        minimum: Lowest value; None without batches.
        batches: Number of batches with a value.
        under_80_percent: Number of batches below 80 %.
    """

    average: float | None
    minimum: float | None
    batches: int
    under_80_percent: int


@dataclass(frozen=True, slots=True)
class LoaderWait:
    """Time spent waiting for the DataLoader, over the batches that measured it.

    Attributes:
        average_ms: Mean wait; None without batches.
        p95_ms: 95th percentile of the wait; None without batches.
        starved_percent: Percentage of starved batches; None if it was not measured.
    """

    average_ms: float | None
    p95_ms: float | None
    starved_percent: float | None


@dataclass(frozen=True, slots=True)
class DeviceLoad:
    """GPU utilization of one device, percent.

    Attributes:
        name: Name of the device.
        average: Average over the run; None if it was not measured.
        minimum: Lowest value of a batch; None without values.
        maximum: Highest value of a batch; None without values.
        coverage: How much of the run was sampled; None if that is unknown.
    """

    name: str
    average: float | None
    minimum: float | None
    maximum: float | None
    coverage: Coverage | None = None


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Cost of writing checkpoints.

    Attributes:
        writes: Number of batches with a checkpoint; None if no batch says so.
        average_write_ms: Mean time of a write; None if it was not measured.
        p95_write_ms: 95th percentile of that time; None without values.
        max_queue_depth: Largest depth of the checkpoint queue; None if it was not measured.
    """

    writes: int | None
    average_write_ms: float | None
    p95_write_ms: float | None
    max_queue_depth: int | None


@dataclass(frozen=True)
class Performance:
    """All figures of a performance report.

    Attributes:
        source: Name of the file; empty for a run in memory.
        summary: Telemetry summary, with missing keys computed from the batches.
        metadata: The document's ``run_metadata``.
        projections: Hours for 6 million sequences.
        packing: Packing efficiency.
        wait: Time spent waiting for the DataLoader.
        devices: GPU utilization by device.
        checkpoints: Cost of checkpoints; None if there were none.
        hardware: Description of the machine; empty if it is unknown.
        requirements: Performance requirements.
        contradictions: Sentences on totals that contradict the batches.
        on_cpu: Whether the run is known to have been on the CPU, where nothing is required of the speed.
        scaling: How the ranks of a job worked together; None for a single run, or if that is unknown.
    """

    source: str
    summary: Mapping[str, Any]
    metadata: Mapping[str, Any]
    projections: Projections
    packing: Packing
    wait: LoaderWait
    devices: Sequence[DeviceLoad]
    checkpoints: Checkpoints | None
    hardware: Mapping[str, Any]
    requirements: Sequence[Requirement]
    contradictions: Sequence[str]
    on_cpu: bool = False
    scaling: RankScaling | None = None

    @property
    def padding_share(self) -> float | None:
        """Share of the computed tokens that was padding; None if the batches were not padded, or not counted."""
        computed = self.summary.get("padded_tokens")
        real = ratio(self.summary["total_tokens"], computed if isinstance(computed, int) else None)
        return None if real is None else 1 - real


def summarize_performance(
    document: Mapping[str, Any],
    source: str = "",
    *,
    shards: Sequence[Mapping[str, Any]] = (),
    scaling: RankScaling | None = None,
) -> Performance:
    """Compute the figures of a report.

    Args:
        document: Valid telemetry document with ``run_metadata``.
        source: Name of the file that the document comes from; empty for a run in memory.
        shards: Summaries of the shards with ``shard_rank``, if the document is that of a job.
        scaling: How the ranks of a job worked together; None if that is unknown.
    """
    records = document["per_batch_metrics"]
    summary = complete_summary(document)
    metadata = document["run_metadata"]
    hardware = metadata.get("hardware")
    on_cpu = metadata.get("device") == "cpu"
    interval = summary.get("projected_6M_hours_interval") or {}
    projections = Projections(
        summary["projected_6M_hours"],
        summary["projected_6M_hours_tokens"],
        summary.get("projected_6M_hours_steady"),
        (interval.get("low"), interval.get("high")),
    )
    return Performance(
        source=source,
        summary=summary,
        metadata=metadata,
        projections=projections,
        packing=_packing(records, summary),
        wait=_wait(records, summary),
        devices=_shard_loads(records, shards) or _devices(records, summary, metadata),
        checkpoints=_checkpoints(records, summary),
        hardware=hardware if isinstance(hardware, Mapping) else {},
        requirements=requirements(summary, projections, shards, on_cpu=on_cpu),
        contradictions=contradictions(document),
        on_cpu=on_cpu,
        scaling=scaling,
    )


def _packing(records: Records, summary: Mapping[str, Any]) -> Packing:
    efficiencies = measured(metric_of(records, "packing_efficiency"))
    return Packing(
        average=summary["avg_packing_efficiency"],
        minimum=min(efficiencies, default=None),
        batches=len(efficiencies),
        under_80_percent=sum(efficiency < WELL_PACKED for efficiency in efficiencies),
    )


def _wait(records: Records, summary: Mapping[str, Any]) -> LoaderWait:
    waits = metric_of(records, "wait_time_ms")
    return LoaderWait(mean(waits), percentile(waits, 95), summary["pct_starved"])


def _devices(records: Records, summary: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[DeviceLoad]:
    """Return one entry per ``device`` in the batches, else one per ``shard_rank``, else one for the run."""
    for key, label in (("device", ""), ("shard_rank", "shard ")):
        by_device: dict[str, list[float | None]] = {}
        for device, load in zip(metric_of(records, key), metric_of(records, "gpu_util"), strict=True):
            if device is not None:
                by_device.setdefault(f"{label}{device}", []).append(load)
        if len(by_device) > 1:
            return [_device_of_batches(name, values) for name, values in sorted(by_device.items())]
    name = metadata.get("device")
    values = metric_of(records, "gpu_util")
    coverage = summary_coverage(summary, UTILIZATION)
    return [_device(name if isinstance(name, str) else "GPU", summary[UTILIZATION], values, coverage)]


def _device(name: str, average: float | None, values: Sequence[float | None], coverage: Coverage | None) -> DeviceLoad:
    known = measured(values)
    return DeviceLoad(name, average, min(known, default=None), max(known, default=None), coverage)


def _device_of_batches(name: str, values: Sequence[float | None]) -> DeviceLoad:
    coverage = batch_coverage(values)
    return _device(name, _sufficient(mean(values), coverage), values, coverage)


def _shard_loads(records: Records, shards: Sequence[Mapping[str, Any]]) -> list[DeviceLoad]:
    """Return one entry per shard of a job."""
    values: dict[Any, list[float | None]] = {}
    for rank, load in zip(metric_of(records, "shard_rank"), metric_of(records, "gpu_util"), strict=True):
        values.setdefault(rank, []).append(load)
    by_rank = ((shard["shard_rank"], shard) for shard in shards)
    return [
        _device(f"shard {rank}", shard[UTILIZATION], values.get(rank, []), summary_coverage(shard, UTILIZATION))
        for rank, shard in by_rank
    ]


def _checkpoints(records: Records, summary: Mapping[str, Any]) -> Checkpoints | None:
    writes = measured(metric_of(records, "checkpoint_write_ms"))
    average, depth = summary.get("avg_checkpoint_write_ms"), summary.get("max_checkpoint_queue_depth")
    if not writes and average is None and depth is None:
        return None
    return Checkpoints(len(writes) or None, average, percentile(writes, 95), depth)


def complete_summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's summary with missing keys computed from its batches; None if they lack them too.

    Args:
        document: Valid telemetry document.
    """
    records = document["per_batch_metrics"]
    given = {key: value for key, value in document["summary"].items() if value is not None}
    sampled = summary_coverage(given, UTILIZATION) is not None or "gpu_sampling_lost_after_seconds" in given
    if sampled:  # the batches that have a value do not represent the run
        given.setdefault(UTILIZATION, None)
    else:
        given |= _utilization_of_batches(records, given.get(UTILIZATION))
    if not len(records):  # without records the totals are unknown, not 0
        given = {"total_sequences": None, "total_tokens": None, "total_batches": None, **given}
    return {**document["summary"], **summarize(records, None, given)}


def batch_coverage(values: Sequence[float | None]) -> Coverage | None:
    """Return the share of the batches that have a value, as a coverage; None if all or none have one.

    Args:
        values: Values of the batches, with None for those without.
    """
    count = len(measured(values))
    return None if count in (0, len(values)) else Coverage(count / len(values), count, 0.0)


def _utilization_of_batches(records: Records, given: float | None) -> dict[str, Any]:
    """Return the summary keys of a utilization that only some of the batches have.

    Args:
        records: Batches of the document.
        given: Utilization in its summary, or None. If it is not the mean of the batches, it was measured otherwise,
            and the result is empty.
    """
    values = metric_of(records, "gpu_util")
    average, coverage = mean(values), batch_coverage(values)
    if average is None or coverage is None or not (given is None or math.isclose(given, average)):
        return {}
    return {UTILIZATION: _sufficient(average, coverage), COVERAGE: {UTILIZATION: coverage.to_json()}}


def _sufficient(value: float | None, coverage: Coverage | None) -> float | None:
    return value if coverage is None or coverage.sufficient else None


def contradictions(document: Mapping[str, Any]) -> list[str]:
    """Return sentences on totals of the summary that contradict the batches.

    Either batches were not recorded or some were counted twice; rates of such a file are unreliable.

    Args:
        document: Valid telemetry document.
    """
    records, summary = document["per_batch_metrics"], document["summary"]
    if not len(records):
        return []
    found = []
    if summary.get("total_batches") not in (None, len(records)):
        total = counted(summary["total_batches"], "batch", "batches")
        found.append(f"the summary counts {total}, the file contains {len(records):,}")
    for total, count in _TOTALS.items():
        counts = metric_of(records, count)
        if summary.get(total) is None or any(value is None for value in counts):
            continue
        if summary[total] != sum(counts):
            found.append(f"the summary's {total} is {summary[total]:,}, the batches add up to {sum(counts):,}")
    return found
