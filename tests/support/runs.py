# SPDX-License-Identifier: MIT
"""Runs made by hand or by hypothesis, for tests of their readers."""

import numpy as np
from hypothesis import strategies as st

from virnuc_profiler.telemetry.batch_table import (
    BATCH_FIELDS,
    DEVICE_TIMES_DROPPED,
    HAS_PACKING,
    NOT_MEASURED,
    STAGE_FIELDS,
    BatchTable,
)
from virnuc_profiler.telemetry.records import STAGES, BatchRecord, PackingRecord, StageRecord

_BATCH_DTYPE = [(field, np.uint32 if field == "flags" else np.int64) for field in BATCH_FIELDS]
_STAGE_DTYPE = [(field, np.int32 if field in ("stage", "timestamped") else np.int64) for field in STAGE_FIELDS]


def table_of(batches: list[BatchRecord], stage_names=STAGES) -> BatchTable:
    """Make a table of exactly these records, in the form that the compiled core returns."""
    rows, stage_rows = [], []
    for batch in batches:
        begin = len(stage_rows)
        for stage in batch.stages:
            device = (stage.device_start_ns, stage.device_end_ns)
            device = tuple(NOT_MEASURED if time is None else time for time in device)
            name = stage_names.index(stage.name)
            stage_rows.append((name, stage.host_start_ns, stage.host_end_ns, *device, stage.timestamped))
        packing = batch.packing
        flags = (HAS_PACKING if packing else 0) | (DEVICE_TIMES_DROPPED if batch.device_times_dropped else 0)
        statistics = (NOT_MEASURED,) * 5 + (0,)
        if packing:
            statistics = (
                packing.sequences,
                packing.tokens,
                packing.min_length,
                packing.max_length,
                packing.sum_squared_lengths,
                packing.token_budget or 0,
            )
        rows.append((batch.index, batch.host_start_ns, batch.host_end_ns, begin, len(stage_rows), *statistics, flags))
    return BatchTable(stage_names, np.array(rows, _BATCH_DTYPE), np.array(stage_rows, _STAGE_DTYPE))


_times = st.integers(0, 2**62)
_maybe_times = st.none() | _times


@st.composite
def batch_records(draw) -> BatchRecord:
    counts = st.integers(0, 2**40)
    packing = PackingRecord(*(draw(counts) for _ in range(5)), token_budget=draw(st.none() | st.integers(1, 2**31)))
    stages = st.builds(StageRecord, st.sampled_from(STAGES), _times, _times, _maybe_times, _maybe_times, st.booleans())
    return BatchRecord(
        index=draw(counts),
        host_start_ns=draw(_times),
        host_end_ns=draw(_times),
        stages=tuple(draw(st.lists(stages, max_size=4))),
        packing=draw(st.none() | st.just(packing)),
        device_times_dropped=draw(st.booleans()),
    )
