# SPDX-License-Identifier: MIT
"""The summary of a run's batch records, as running totals that can be read at any time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from virnuc_profiler.telemetry.rates import rates, ratio


@dataclass(frozen=True, eq=False)
class MetricColumns:
    """Metrics of many batches by key, for summaries of runs of which a record for each batch would fill the memory.

    Attributes:
        size: Number of batches.
        columns: Values of the batches by key, with None for what was not measured.
    """

    size: int
    columns: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        rows = zip(*self.columns.values(), strict=True) if self.columns else iter([()] * self.size)
        return (dict(zip(self.columns, row, strict=True)) for row in rows)


Records = Sequence[Mapping[str, Any]] | MetricColumns
"""Metrics of batches, by batch or by key."""


def metric_of(records: Records, key: str) -> Sequence[Any]:
    """Return one metric of all batches, with None for those that lack it.

    Args:
        records: Metrics of the batches.
        key: Key of the metric.
    """
    if isinstance(records, MetricColumns):
        return records.columns.get(key) or [None] * len(records)
    return [record.get(key) for record in records]


@dataclass
class Mean:
    """Running mean of the values that were measured."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float | None) -> None:
        """Add a value.

        Args:
            value: Value to add; None is ignored.
        """
        if value is not None:
            self.total += value
            self.count += 1

    @property
    def value(self) -> float | None:
        """Mean of the values so far; None without values."""
        return ratio(self.total, self.count)


@dataclass
class SummaryTotals:
    """Running totals of batch records; each record takes constant time.

    Averages are means over the batches that have the value. Totals are sums over the batches that have the count, and
    ``batches_without_counts`` counts the others. A total is None, not 0, if no batch has the count.
    """

    batches: int = 0
    sequences: int = 0
    tokens: int = 0
    with_sequences: int = 0
    with_tokens: int = 0
    without_counts: int = 0
    starved: int = 0
    with_queue_state: int = 0
    wait_ms: float = 0.0
    with_wait: int = 0
    gpu_util: Mean = field(default_factory=Mean)
    packing_efficiency: Mean = field(default_factory=Mean)
    checkpoint_write_ms: Mean = field(default_factory=Mean)
    max_checkpoint_queue_depth: int | None = None

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a batch record.

        Args:
            record: Metrics of the batch, whose known keys fit the schema.
        """
        sequences, tokens = record.get("num_sequences"), record.get("num_tokens")
        self.batches += 1
        self.without_counts += sequences is None or tokens is None
        if sequences is not None:
            self.sequences += int(sequences)
            self.with_sequences += 1
        if tokens is not None:
            self.tokens += int(tokens)
            self.with_tokens += 1
        if (state := record.get("queue_state")) is not None:
            self.starved += state == "starved"
            self.with_queue_state += 1
        if (wait_ms := record.get("wait_time_ms")) is not None:
            self.wait_ms += float(wait_ms)
            self.with_wait += 1
        self.gpu_util.add(record.get("gpu_util"))
        self.packing_efficiency.add(record.get("packing_efficiency"))
        self.checkpoint_write_ms.add(record.get("checkpoint_write_ms"))
        if (depth := record.get("checkpoint_queue_depth")) is not None:
            self.max_checkpoint_queue_depth = max(int(depth), self.max_checkpoint_queue_depth or 0)

    def add_columns(self, metrics: MetricColumns) -> None:
        """Add batches; the totals are those of :meth:`add` for each of them.

        Args:
            metrics: Metrics of the batches, whose known keys fit the schema.
        """
        sequences, tokens = metric_of(metrics, "num_sequences"), metric_of(metrics, "num_tokens")
        self.batches += len(metrics)
        self.without_counts += sum(one is None or other is None for one, other in zip(sequences, tokens, strict=True))
        known_sequences, known_tokens = _known(sequences), _known(tokens)
        self.sequences += sum(known_sequences)
        self.with_sequences += len(known_sequences)
        self.tokens += sum(known_tokens)
        self.with_tokens += len(known_tokens)
        states = _known(metric_of(metrics, "queue_state"))
        self.starved += states.count("starved")
        self.with_queue_state += len(states)
        for wait_ms in (waits := _known(metric_of(metrics, "wait_time_ms"))):
            self.wait_ms += wait_ms
        self.with_wait += len(waits)
        for key in ("gpu_util", "packing_efficiency", "checkpoint_write_ms"):
            mean: Mean = getattr(self, key)
            for value in _known(metric_of(metrics, key)):
                mean.add(value)

    def summary(self, elapsed_seconds: float | None, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the summary of the records so far.

        Rates and projections are None if batches lack a count and the total is not given.

        Args:
            elapsed_seconds: Wall time of the run, or None if it is unknown.
            given: Keys that replace or extend the computed ones. Rates and projections follow from totals and
                ``elapsed_seconds`` given here, unless they are given too.
        """
        totals: dict[str, Any] = {
            "total_sequences": self.sequences if self.with_sequences or not self.batches else None,
            "total_tokens": self.tokens if self.with_tokens or not self.batches else None,
            "total_batches": self.batches,
            "elapsed_seconds": elapsed_seconds,
        }
        given = given or {}
        totals.update((key, given[key]) for key in totals.keys() & given.keys())
        # The sum over some of the batches must not be divided by the time of all of them.
        every_sequence = "total_sequences" in given or self.with_sequences == self.batches
        every_token = "total_tokens" in given or self.with_tokens == self.batches
        derived = rates(
            totals["total_sequences"] if every_sequence else None,
            totals["total_tokens"] if every_token else None,
            totals["elapsed_seconds"],
        )
        summary = {
            **totals,
            "avg_tokens_per_sec": derived.pop("avg_tokens_per_sec"),
            "avg_gpu_util": self.gpu_util.value,
            "avg_packing_efficiency": self.packing_efficiency.value,
            "pct_starved": ratio(100 * self.starved, self.with_queue_state),
            **derived,
        }
        if self.with_wait:  # the waits of some batches say little about the run
            waited_s = ratio(self.wait_ms, 1e3) if self.with_wait == self.batches else None
            summary["wait_seconds"] = waited_s
            summary["wait_fraction"] = _fraction(waited_s, totals["elapsed_seconds"])
        if self.without_counts:
            summary["batches_without_counts"] = self.without_counts
        if self.checkpoint_write_ms.count:
            summary["avg_checkpoint_write_ms"] = self.checkpoint_write_ms.value
        if self.max_checkpoint_queue_depth is not None:
            summary["max_checkpoint_queue_depth"] = self.max_checkpoint_queue_depth
        return {**summary, **given}


def _known(values: Sequence[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def _fraction(part: float | None, whole: float | None) -> float | None:
    """Return a part of a whole; None if it exceeds the whole, as the waits of several threads at once do."""
    found = ratio(part, whole)
    return None if found is None or found > 1 else found


def summarize(
    records: Iterable[Mapping[str, Any]] | MetricColumns,
    elapsed_seconds: float | None,
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the summary of batch records.

    Args:
        records: Metrics of the batches, whose known keys fit the schema.
        elapsed_seconds: Wall time of the run, or None if it is unknown.
        given: Keys that replace or extend the computed ones, as in :meth:`SummaryTotals.summary`.
    """
    totals = SummaryTotals()
    if isinstance(records, MetricColumns):
        totals.add_columns(records)
    else:
        for record in records:
            totals.add(record)
    return totals.summary(elapsed_seconds, given)
