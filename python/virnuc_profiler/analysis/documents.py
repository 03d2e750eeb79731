# SPDX-License-Identifier: MIT
"""Loaded telemetry documents, also those of writers that left optional keys out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virnuc_profiler.telemetry.summary import summarise

_TOTALS = {"total_sequences": "num_sequences", "total_tokens": "num_tokens"}


def complete_summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document's summary; what it lacks is computed from its batch records, and None where they lack it too."""
    records = document["per_batch_metrics"]
    given = {key: value for key, value in document["summary"].items() if value is not None}
    if "gpu_sampling_lost_after_seconds" in given:  # a mean over the batches until then would pass for the whole run's
        given.setdefault("avg_gpu_util", None)
    if not records:  # nothing recorded is no proof that nothing was done
        given = {"total_sequences": None, "total_tokens": None, "total_batches": None, **given}
    return {**document["summary"], **summarise(records, None, given)}


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
