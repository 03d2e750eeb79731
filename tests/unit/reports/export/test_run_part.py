# SPDX-License-Identifier: MIT
"""A part of a run says nothing of what lies outside of it."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.run_records import MS, batch, run_of, stage
from virnuc_profiler.reports.export.run_part import part_of_run
from virnuc_profiler.reports.export.run_tracks import run_facts, trace_process
from virnuc_profiler.telemetry.parts.start_up_records import StartUpRecord
from virnuc_profiler.telemetry.records import DeviceCapture


@pytest.fixture
def run():
    """Twenty batches of which the host is two ahead of the device; the device times of the first are lost."""
    batches = []
    for number in range(20):
        start = 10 * number
        launched = stage("forward", start + 1, start + 2, (start + 28, start + 36) if number else None)
        batches.append(batch(number, start, start + 38, [launched], dropped=number == 0))
    found = run_of(batches, 240, device=DeviceCapture("GPU", timed=True, dropped_batches=1))
    return replace(found, start_up=StartUpRecord(-500 * MS, first_run=True))


def idle(run, **options):
    """Time outside of all stages by its cause, ms, as a trace shows it."""
    tracks = [one for one in trace_process(run, "run", **options).tracks if "outside" in one.name]
    slices = tracks[0].slices
    return {
        name: int((slices.end_ns - slices.start_ns)[slices.name == number].sum()) // MS
        for number, name in enumerate(slices.names)
        if np.any(slices.name == number)
    }


def test_the_device_is_not_called_idle_while_it_works_on_batches_outside_of_the_part(run):
    part = part_of_run(run, slice(5, 10))
    assert idle(part)["before the first batch"] == 28
    shown = idle(part, partial=True)
    assert "before the first batch" not in shown
    assert "after the last batch" not in shown
    assert sum(shown.values()) == 4 * 2


def test_the_process_before_the_run_does_not_reach_into_it(run):
    assert "start-up" in [track.name for track in trace_process(run, "run").tracks]
    assert "start-up" not in [track.name for track in trace_process(part_of_run(run, slice(5, 10)), "run").tracks]


def test_lost_device_times_are_those_of_the_part(run):
    assert run_facts(run)["batches without all device times"] == "1"
    assert "batches without all device times" not in run_facts(part_of_run(run, slice(5, 10)))
    assert run_facts(part_of_run(run, slice(None, 5)))["batches without all device times"] == "1"
