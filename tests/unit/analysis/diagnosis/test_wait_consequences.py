# SPDX-License-Identifier: MIT
"""Gaps behind the first copies of batches that the host waited for."""

from dataclasses import replace

import pytest

from tests.support.pipelines import GPU, LENGTHS
from tests.support.run_records import batch, packing, run_of, stage
from virnuc_profiler.analysis.diagnosis.diagnose import diagnose_run


def replays_after_waits(prepare_ms, device_ms=10.0, wake_ms=0.2):
    """A run that waits for each batch, copies the next one in, and takes a while to prepare its replay."""
    batches, now = [], 0.0
    for number in range(40):
        began, fetched = now, now + 0.05
        copied = fetched + 0.01
        prepared = copied + prepare_ms
        launched = prepared + 0.03
        computed = launched + device_ms
        copied_out = computed + 0.003  # the device's own time between two stages
        done = copied_out + 0.005
        replay = replace(stage("forward", prepared, launched, device=(launched, computed)), timestamped=True)
        stages = [
            stage("fetch", began, fetched),
            stage("h2d", fetched, copied, device=(fetched + 0.002, copied + 0.002)),
            replay,
            stage("d2h", launched, launched + 0.01, device=(copied_out, done)),
        ]
        now = done + wake_ms
        batches.append(batch(number, began, now, stages, packing(LENGTHS, 4096)))
    return run_of(batches, now + 1.0, device=GPU)


def test_the_preparation_of_a_replay_after_a_wait_is_due_to_the_wait():
    found = diagnose_run(replays_after_waits(prepare_ms=0.4))
    assert found.bottleneck == "synchronizing"
    assert found.lost_time["synchronizing"] == pytest.approx(0.68 / 10.7, abs=0.002)


def test_a_preparation_that_no_pass_could_hide_is_launching():
    found = diagnose_run(replays_after_waits(prepare_ms=20.0))
    assert found.bottleneck == "launching"
    assert found.lost_time["launching"] == pytest.approx(20.0 / 30.3, abs=0.02)
    assert "other_host_work" not in found.lost_time
