# SPDX-License-Identifier: MIT
"""The packed times of a page, unpacked as its script does, are those of the run, for batches of any shape."""

import base64
import zlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.run_records import run_of
from virnuc_profiler.analysis.timeline.run_timeline import timeline_of
from virnuc_profiler.reports.html.timeline.packed_columns import NamedColumn, pack_columns
from virnuc_profiler.reports.html.timeline.timeline_data import timeline_data
from virnuc_profiler.telemetry.records import STAGES, BatchRecord, DeviceCapture, StageRecord

times = st.integers(0, 5_000)


def unpacked(described, text):
    data, at, columns = zlib.decompress(base64.b64decode(text)), 0, {}
    for name, length, width, differences in described:
        values = [0] * length
        for plane in range(width):
            for place in range(length):
                values[place] |= data[at + plane * length + place] << 8 * plane
        at += length * width
        signed = [value // 2 if value % 2 == 0 else -(value // 2) - 1 for value in values]
        columns[name] = np.cumsum(signed).tolist() if differences else signed
    assert at == len(data)
    return columns


@given(st.lists(st.integers(-(2**52), 2**52), max_size=30), st.booleans())
def test_columns_come_back(values, differences):
    if differences:
        values = [value // 2 for value in values]
    packed = pack_columns([NamedColumn("a", np.array(values, np.int64), differences)])
    assert unpacked(packed.columns, packed.text) == {"a": values}


def test_numbers_beyond_a_browser_are_cut():
    packed = pack_columns([NamedColumn("a", np.array([2**62, -(2**62)], np.int64))])
    assert unpacked(packed.columns, packed.text) == {"a": [2**52, -(2**52)]}


@st.composite
def stages(draw):
    start, end, device = draw(times), draw(times), draw(st.none() | st.tuples(times, times))
    return StageRecord(draw(st.sampled_from(STAGES)), start, max(start, end), *(device or (None, None)))


@st.composite
def batches(draw):
    start, end = draw(times), draw(times)
    return BatchRecord(draw(st.integers(0, 2**40)), start, max(start, end), tuple(draw(st.lists(stages(), max_size=4))))


@settings(max_examples=60, deadline=None)
@given(st.lists(batches(), max_size=6))
def test_times_of_stages_come_back(records):
    run = run_of(records, 0.006, device=DeviceCapture("GPU", timed=True))
    about, text = timeline_data(timeline_of(run))
    columns = unpacked(about["columns"], text)
    host, device = (dict.fromkeys(range(len(STAGES)), 0) for _ in range(2))
    row = reached = 0
    first = True
    for record, begin, count in zip(records, columns["batch.start"], columns["batch.stages"], strict=True):
        assert begin == record.host_start_ns
        known = []
        for number, stage in enumerate(record.stages):
            name = columns["row.stage"][row]
            assert STAGES[name] == stage.name
            references = (
                begin,
                known[-1][0] if known else begin,
                known[-1][1] if known else begin,
                known[-2][1] if number > 1 else begin,
            )
            start = references[about["references"]["host"][name]] + columns[f"host.{name}.start"][host[name]]
            end = start + columns[f"host.{name}.length"][host[name]]
            host[name] += 1
            known.append((start, end))
            assert (start, end) == (stage.host_start_ns, stage.host_end_ns)
            if columns["row.timed"][row]:
                reference = (start, reached)[about["references"]["device"][name]]
                start = reference + columns[f"device.{name}.start"][device[name]]
                end = start + columns[f"device.{name}.length"][device[name]]
                device[name] += 1
                reached, first = end if first else max(reached, end), False
                assert (start, end) == (stage.device_start_ns, stage.device_end_ns)
            else:
                assert stage.device_start_ns is None
            row += 1
        assert count == len(record.stages)
