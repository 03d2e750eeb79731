# SPDX-License-Identifier: MIT
"""Captured kernels in the reports, and in the diagnosis."""

import json
from dataclasses import replace

import pytest

from tests.support.kineto_traces import faster, launch_bound_capture
from virnuc_profiler import RunResult, diagnose_run
from virnuc_profiler.analysis.kernels.device_trace import read_device_trace
from virnuc_profiler.analysis.kernels.kernel_activity import kernel_activity
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.reports.kernel_table import render_kernels
from virnuc_profiler.reports.renderers import TextRenderer
from virnuc_profiler.reports.run_page import render_page
from virnuc_profiler.telemetry.parts.kernel_records import KernelActivity


@pytest.fixture(scope="module")
def measured():
    """A launch-bound run with the kernels of 20 of its batches, which took 1.1 times as long under CUPTI."""
    capture = launch_bound_capture(batches=40)
    run = faster(capture.run, 1.1)
    found = kernel_activity(
        capture.run,
        read_device_trace(capture.document),
        capture.anchors,
        started_ns=capture.started_ns,
        num_batches=20,
        measured=run,
    )
    return replace(run, kernels=found)


def test_the_report_shows_busy_share_gaps_launches_kernels_and_overhead(measured):
    text = render_kernels(measured.kernels)
    assert "GPU busy while recorded: 33.6%" in text
    assert "GPU busy at the loop's own pace: 37.0% (same work, without CUPTI)" in text
    assert "Idle while recorded: 49.8% inside device stages, 16.5% between them" in text
    assert "Launches: 11.0 a batch, of 11.0 operations" in text
    assert "the batches took 1.10 times as long as without it" in text
    assert "Window: 20 batches (7 to 26)" in text
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    assert ["forward", "10.0", "10.0", "4.000", "4.000", "10.000", "60.0%"] in rows
    assert ["forward", "gemm", "100", "40.000", "400.0", "49.1%"] in rows
    assert ["h2d", "Memcpy HtoD (Pinned -> Device)", "20", "1.400", "70.0", "1.72%"] in rows
    assert text in TextRenderer().run(measured)
    assert "may be off" not in text


def test_launch_times_that_may_fall_into_another_stage_are_said_to(measured):
    text = render_kernels(replace(measured.kernels, clock_error_ns=3_950_000))
    assert "Launches may be off by 3.950 ms: kernels may be given to a neighbor of their stage" in text


def test_the_page_and_the_verdict_know_the_busy_share(measured):
    page = " ".join(render_page(measured).split())
    assert "Busy: 37.0% at its own pace, 33.6% while CUPTI recorded 20 batches, which took 1.10 times as long" in page
    found = diagnose_run(measured)
    assert dict(found.evidence)["GPU busy at this pace, by CUPTI in 20 batches"] == "37.0%"
    assert found.bottleneck == "launching"
    # The stages cover 83.5 % of the time, and the device worked for 37.0 % of it.
    assert found.lost_time["launching"] == pytest.approx(0.835 - 0.370, abs=0.01)
    assert "launching: for 46." in found.sentence
    assert "up to" not in found.sentence


def test_without_a_capture_nothing_is_called_busy(measured):
    plain = replace(measured, kernels=None)
    for text in (TextRenderer().run(plain), render_page(plain)):
        assert "Busy" not in text
        assert "Kernels (CUPTI)" not in text
        for line in text.splitlines():
            assert "busy" not in line or "at most" in line


def test_kernels_are_saved_with_the_run_and_keep_what_a_newer_version_adds(measured, tmp_path):
    path = measured.save(tmp_path / "run.json")
    loaded = RunResult.load(path)
    assert loaded.kernels == measured.kernels
    assert (loaded.kernels.busy_share, loaded.kernels.slowdown) == (
        measured.kernels.busy_share,
        measured.kernels.slowdown,
    )
    document = measured.kernels.to_json() | {"newer": 1}
    document["stages"] = [one | {"newer": 2} for one in document["stages"]]
    path.write_text(json.dumps({**json.loads(path.read_text()), "kernels": document}))
    again = RunResult.load(path)
    assert again.kernels == measured.kernels
    kept = json.loads(again.save(path).read_text())["kernels"]
    assert kept["newer"] == 1
    assert [one["newer"] for one in kept["stages"]] == [2] * len(kept["stages"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"busy_ns": "long"}, "kernels.busy_ns is 'long'"),
        ({"window_ns": None}, "kernels.window_ns is None"),
        ({"stages": {}}, "kernels.stages is {}, must be list"),
        ({"stages": [{"stage": 3}]}, r"kernels.stages\[0\]"),
        ({"kernels": [{"stage": None, "name": "x", "count": 1.5, "total_ns": 1}]}, r"kernels.kernels\[0\].count"),
    ],
)
def test_damaged_kernels_are_named(measured, change, message):
    with pytest.raises(TelemetryFormatError, match=message):
        KernelActivity.from_json(measured.kernels.to_json() | change)


def test_an_empty_capture_has_no_shares():
    empty = KernelActivity(0, 0, 0, 0, None, None, 0, 0)
    assert (empty.busy_share, empty.busy_share_at_own_pace, empty.slowdown) == (None, None, None)
    assert "GPU busy while recorded: n/a" in render_kernels(empty)
