# SPDX-License-Identifier: MIT
"""Rows of messages as a protobuf library reads them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.reports.export.proto_rows import (
    VarintColumn,
    fixed,
    integer,
    message,
    one_message,
    rows,
    text,
    varint_width,
)

trace_pb2 = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")


@given(st.lists(st.tuples(st.integers(0, 2**63 - 1), st.floats(allow_nan=False)), min_size=1, max_size=5), st.text())
def test_padded_numbers_are_the_numbers(values, label):
    at_ns = np.array([at for at, _ in values], np.int64)
    numbers = np.array([number for _, number in values])
    width = varint_width(int(at_ns.max()))
    event = message(11, [*integer(9, 4), *fixed(44, numbers), *text(23, label)])
    data = rows(len(values), message(1, [*integer(8, VarintColumn(at_ns, width)), *event])).tobytes()
    found = trace_pb2.Trace.FromString(data).packet
    assert [(packet.timestamp, packet.track_event.double_counter_value) for packet in found] == values
    assert found[0].track_event.name == label


def test_text_that_utf8_lacks_is_escaped():
    data = one_message(message(1, message(11, text(23, "a\ud800"))))
    assert trace_pb2.Trace.FromString(data).packet[0].track_event.name == "a\\ud800"
