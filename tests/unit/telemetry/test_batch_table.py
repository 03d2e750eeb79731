# SPDX-License-Identifier: MIT
import pytest

from virnuc_profiler import _core
from virnuc_profiler.telemetry import batch_table


@pytest.mark.parametrize("name", ["HAS_PACKING", "OVERSIZE", "DEVICE_TIMES_DROPPED"])
def test_flags_are_those_of_the_compiled_core(name):
    assert getattr(batch_table, name) == getattr(_core.Timeline, name)


def test_columns_are_those_of_the_compiled_core():
    timeline = _core.Timeline(["forward"], [])
    assert set(batch_table.BATCH_FIELDS) == set(timeline.batches().dtype.names)
    assert set(batch_table.STAGE_FIELDS) == set(timeline.stages().dtype.names)
