# SPDX-License-Identifier: MIT
"""Columns for a report are the metrics of each batch, and their summary is the same."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.property.test_device_gaps import batches
from tests.support.run_records import MS, run_of, samples
from tests.support.runs import table_of
from virnuc_profiler.analysis.summary.batch_metrics import metrics_of_run
from virnuc_profiler.analysis.summary.report_metrics import report_metrics
from virnuc_profiler.telemetry.records import GpuReading, PackingRecord
from virnuc_profiler.telemetry.summary import summarize

packings = st.builds(
    PackingRecord,
    st.integers(0, 50),
    st.integers(0, 9000),
    st.just(1),
    st.integers(1, 500),
    st.integers(0, 10**6),
    st.none() | st.integers(1, 8192),
)


@given(
    st.lists(st.tuples(batches, st.none() | packings), max_size=8),
    st.booleans(),
    st.sampled_from([1, 1000]),
)
def test_columns_of_a_report(found, sampled, slower):
    records = [replace(one, packing=pack) for one, pack in found]
    for name in ("own",):
        records = [replace(one, stages=tuple(s for s in one.stages if s.name != name)) for one in records]
    records = [
        replace(one, host_start_ns=one.host_start_ns * slower, host_end_ns=one.host_end_ns * slower) for one in records
    ]
    readings = tuple(GpuReading(at_ns=n * 300 * MS, utilization_percent=10 * n) for n in range(11))
    run = replace(run_of([], 20_000), batches=table_of(records), gpu=samples(fast=readings) if sampled else None)
    metrics = [metrics for _, metrics in metrics_of_run(run)]
    columns = report_metrics(run)
    rows = list(columns)
    assert len(rows) == len(columns) == len(metrics)
    for row, whole in zip(rows, metrics, strict=True):
        assert row == {key: whole[key] for key in row}
    assert summarize(columns, 1.5) == summarize(metrics, 1.5)
