# SPDX-License-Identifier: MIT
"""What a saved run tells beside its pace: how long its process took to get to it, and the power of its device."""

from dataclasses import replace

import pytest

from tests.support.run_records import MS, batch, packing, run_of, samples
from virnuc_profiler.sweep.results.projection_source import read_source
from virnuc_profiler.telemetry.parts.start_up_records import StartUpRecord
from virnuc_profiler.telemetry.records import DeviceCapture, EnergyReading


def source_of(tmp_path, *, start_up=None, gpu=None):
    batches = [batch(n, 1000 * n, 1000 * n + 1000, [], packing([200], 256)) for n in range(10)]
    run = run_of(batches, 10_000, gpu=gpu, device=DeviceCapture("GPU", timed=True))
    path = tmp_path / "run_a.json"
    replace(run, start_up=start_up).save(path)
    return read_source(path)


def test_the_time_until_the_run_is_that_of_a_process_that_was_started_for_it(tmp_path):
    started = StartUpRecord(process_start_ns=-7000 * MS, first_run=True)
    assert source_of(tmp_path, start_up=started).before_s == pytest.approx(7.0)
    later = replace(started, first_run=False)
    assert source_of(tmp_path, start_up=later).before_s is None
    assert source_of(tmp_path, start_up=replace(started, process_start_ns=None)).before_s is None
    assert source_of(tmp_path).before_s is None


def test_power_is_that_of_the_run(tmp_path):
    gpu = samples(energy=(EnergyReading(0, 0), EnergyReading(10_000 * MS, 3_000_000)))
    assert source_of(tmp_path, gpu=gpu).watts == pytest.approx(300.0)
    assert source_of(tmp_path).watts is None
