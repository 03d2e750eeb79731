# SPDX-License-Identifier: MIT
"""Tables of a run as data frames: each value is that of its record, and what was not measured is missing."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.run_records import run_of, samples
from tests.support.runs import batch_records, table_of
from virnuc_profiler.errors import LibraryUnavailable
from virnuc_profiler.telemetry.records import EnergyReading, GpmReading, GpuReading, ProcessReading
from virnuc_profiler.telemetry.tables.run_tables import TABLES, run_table

pd = pytest.importorskip("pandas")


def run_with(batches, gpu=None):
    from dataclasses import replace

    return replace(run_of([], 10, gpu=gpu), batches=table_of(batches))


def cells(frame):
    """Return the rows of a frame as dictionaries, with None for what is missing."""
    return [
        {name: None if pd.isna(value) else value for name, value in zip(frame.columns, row, strict=True)}
        for row in frame.itertuples(index=False, name=None)
    ]


@given(st.lists(batch_records(), max_size=5))
def test_batches_are_their_records(batches):
    rows = cells(run_with(batches).to_pandas())
    assert len(rows) == len(batches)
    for row, batch in zip(rows, batches, strict=True):
        assert (row["batch"], row["host_start_ns"], row["host_end_ns"]) == (
            batch.index,
            batch.host_start_ns,
            batch.host_end_ns,
        )
        pack = batch.packing
        for name in ("sequences", "tokens", "min_length", "max_length", "token_budget"):
            assert row[name] == (None if pack is None else getattr(pack, name))
        assert row["oversize"] == (None if pack is None else pack.oversize)
        assert row["packing_efficiency"] == (None if pack is None else pack.packing_efficiency)
        assert row["device_times_dropped"] == batch.device_times_dropped
        timed = [one for one in batch.stages if one.device_ns is not None]
        assert row["device_start_ns"] == min((one.device_start_ns for one in timed), default=None)
        assert row["device_end_ns"] == max((one.device_end_ns for one in timed), default=None)


@given(st.lists(batch_records(), max_size=5))
def test_stages_are_their_records(batches):
    rows = cells(run_with(batches).to_pandas("stages"))
    records = [(batch, stage) for batch in batches for stage in batch.stages]
    assert len(rows) == len(records)
    for row, (batch, stage) in zip(rows, records, strict=True):
        assert (row["batch"], row["stage"], row["timestamped"]) == (batch.index, stage.name, stage.timestamped)
        assert row["host_ms"] == pytest.approx(stage.host_ns / 1e6)
        assert row["device_ms"] == (None if stage.device_ns is None else pytest.approx(stage.device_ns / 1e6))


def test_samples_are_in_order_of_time_with_the_values_of_their_tier():
    gpu = samples(
        fast=(GpuReading(10, power_mw=5), GpuReading(30, utilization_percent=7)),
        gpm=(GpmReading(20, 10, 0.25, None, 0.5),),
        energy=(EnergyReading(10, 3),),
        processes=(ProcessReading(40, 0, None),),
    )
    rows = cells(run_with([], gpu).to_pandas("samples"))
    assert [(row["tier"], row["at_ns"]) for row in rows] == [
        ("fast", 10),
        ("energy", 10),
        ("gpm", 20),
        ("fast", 30),
        ("processes", 40),
    ]
    assert (rows[0]["power_mw"], rows[0]["sm_activity"], rows[1]["energy_mj"]) == (5, None, 3)
    assert (rows[2]["sm_activity"], rows[2]["tensor_activity"], rows[4]["other_processes"]) == (0.25, None, 0)


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_run_has_all_columns_and_their_types(name):
    empty, some = run_of([], 0).to_pandas(name), run_with([], samples(fast=(GpuReading(1),))).to_pandas(name)
    assert len(empty) == 0
    assert list(empty.columns) == list(some.columns)


def test_whole_numbers_stay_whole_where_some_are_missing():
    frame = run_with([], samples(fast=(GpuReading(1, power_mw=2**53 + 1), GpuReading(2)))).to_pandas("samples")
    assert frame["power_mw"].iloc[0] == 2**53 + 1
    assert frame["power_mw"].dtype == "Int64"


def test_another_table_is_refused():
    with pytest.raises(ValueError, match="no table 'kernels'; a run has batches, stages, samples"):
        run_of([], 0).to_pandas("kernels")


def test_a_missing_pandas_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(LibraryUnavailable, match=r"data frames need pandas.*pip install 'virnuc_profiler\[export\]'"):
        run_of([], 0).to_pandas()


def test_columns_do_not_change_the_run():
    run = run_with([])
    table = run_table(run, "batches")
    assert all(isinstance(column.values, np.ndarray) for column in table.values())
    frame = run.to_pandas()
    frame["batch"] = 5
    assert len(run.batches) == 0
