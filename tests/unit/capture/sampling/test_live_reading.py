# SPDX-License-Identifier: MIT
"""The newest reading of the GPU, while a run goes on."""

import numpy as np
import pytest

from virnuc_profiler.capture.sampling.live_reading import latest_reading, sampling_began, sampling_ended
from virnuc_profiler.errors import VirnucError
from virnuc_profiler.telemetry.records import GpuReading
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED

NAMES = list(GpuReading.__dataclass_fields__)


class Sampler:
    def __init__(self, *rows, error=None):
        self.rows = np.array(list(rows), dtype=[(name, np.int64) for name in NAMES])
        self.error = error

    def fast_readings(self):
        if self.error is not None:
            raise self.error
        return self.rows


@pytest.fixture
def began():
    samplers = []

    def begin(sampler):
        samplers.append(sampler)
        sampling_began(sampler)

    yield begin
    for sampler in samplers:
        sampling_ended(sampler)


def test_the_newest_reading_of_the_sampler_that_started_last(began):
    assert latest_reading() is None
    began(Sampler())
    assert latest_reading() is None
    began(Sampler((1, 50, 1, 1, 1, 1, 1, 1, 1), (2, 97, 30, 684_000, 1485, 2600, 64, NOT_MEASURED, 5_980_000_000)))
    assert latest_reading() == GpuReading(2, 97, 30, 684_000, 1485, 2600, 64, None, 5_980_000_000)
    assert type(latest_reading().power_mw) is int


def test_a_sampler_that_has_ended_tells_nothing(began):
    first, second = Sampler((1, 50, 1, 1, 1, 1, 1, 1, 1)), Sampler((2, 60, 1, 1, 1, 1, 1, 1, 1))
    began(first)
    began(second)
    sampling_ended(second)
    assert latest_reading().utilization_percent == 50
    sampling_ended(first)
    sampling_ended(first)
    assert latest_reading() is None


def test_a_sampler_of_the_parent_process_tells_nothing(began):
    began(Sampler(error=VirnucError("it belongs to the parent of this forked process")))
    assert latest_reading() is None
