# SPDX-License-Identifier: MIT
import pytest

from tests.support.run_records import batch, stage
from virnuc_profiler.analysis.diagnosis.launches import launches_of
from virnuc_profiler.telemetry.batch_table import BatchTable


def launch(*stages, dropped=False, slack_ns=0):
    return next(
        iter(launches_of(BatchTable.from_records([batch(0, 0, 100, stages, dropped=dropped)]), slack_ns).records()),
        None,
    )


@pytest.mark.parametrize(
    ("device_end", "launch_bound"),
    [
        (6.02, True),  # ends together with the host
        (6.3, True),  # within 5 % of 6.3 ms
        (6.4, False),
        (16.0, False),  # the host was far ahead
    ],
)
def test_a_device_that_ends_with_the_host_waits_for_launches(device_end, launch_bound):
    assert launch(stage("forward", 0, 6, device=(0, device_end))).launch_bound is launch_bound


def test_short_batches_have_a_tenth_of_a_millisecond():
    assert launch(stage("forward", 0, 0.5, device=(0, 0.59))).launch_bound
    assert not launch(stage("forward", 0, 0.5, device=(0, 0.61))).launch_bound
    assert launch(stage("forward", 0, 0.5, device=(0, 0.61)), slack_ns=50_000).launch_bound


def test_a_copy_that_keeps_the_host_holds_it():
    found = launch(stage("forward", 0, 6, device=(0, 16)), stage("d2h", 6, 20, device=(16, 20)))
    assert found.blocking_stage == "d2h"
    assert not found.launch_bound


def test_a_copy_that_returns_at_once_does_not():
    found = launch(stage("forward", 0, 6, device=(0, 16)), stage("d2h", 6, 6.05, device=(16, 20)))
    assert found.blocking_stage is None


def test_another_stage_holds_the_host_only_if_it_came_long_before_the_device():
    held = launch(stage("forward", 0, 6, device=(0, 16)), stage("pool", 6, 16.1, device=(16, 16.1)))
    assert held.blocking_stage == "pool"
    launching = launch(stage("forward", 0, 6, device=(1, 6.05)))
    assert launching.blocking_stage is None
    assert launching.launch_bound


def test_first_copies_of_an_empty_queue_are_exposed():
    forward = stage("forward", 0.1, 6, device=(0.1, 16))
    assert launch(stage("h2d", 0, 0.1, device=(0, 0.1)), forward).exposed_ns == 100_000
    assert launch(stage("h2d", 0, 0.1, device=(9, 9.1)), forward).exposed_ns == 0


def test_without_all_device_times_nothing_is_said():
    assert launch(stage("forward", 0, 6)) is None
    assert launch(stage("forward", 0, 6, device=(0, 6)), dropped=True) is None
