# SPDX-License-Identifier: MIT
"""Handmade runs and batches, for tests of the code that reads them."""

from tests.support.runs import table_of
from virnuc_profiler.telemetry.records import (
    STAGES,
    BatchRecord,
    DeviceCapture,
    GpuSamples,
    PackingRecord,
    StageRecord,
)
from virnuc_profiler.telemetry.run_result import RunResult

MS = 1_000_000


def stage(name, start_ms, end_ms, device=None):
    """Make a stage record from times in ms; `device` is a pair of start and end."""
    on_device = (None, None) if device is None else (int(device[0] * MS), int(device[1] * MS))
    return StageRecord(name, int(start_ms * MS), int(end_ms * MS), *on_device)


def packing(lengths, budget=None):
    return PackingRecord(
        sequences=len(lengths),
        tokens=sum(lengths),
        min_length=min(lengths),
        max_length=max(lengths),
        sum_squared_lengths=sum(length**2 for length in lengths),
        token_budget=budget,
    )


def batch(index, start_ms, end_ms, stages=(), pack=None, dropped=False):
    return BatchRecord(index, int(start_ms * MS), int(end_ms * MS), tuple(stages), pack, dropped)


def run_of(batches, end_ms, *, device=None, gpu=None, metadata=None, start_ms=0):
    """Make a run result from records, through the same columns that a real run has."""
    return RunResult(
        run_id="made-by-hand",
        started_at="2025-03-01T12:00:00+00:00",
        host_start_ns=int(start_ms * MS),
        host_end_ns=int(end_ms * MS),
        stage_names=STAGES,
        batches=table_of(batches),
        device=device or DeviceCapture("cpu", reason="no GPU"),
        gpu=gpu,
        metadata=metadata or {},
    )


def samples(**tiers):
    return GpuSamples("GPU-made-by-hand", **tiers)
