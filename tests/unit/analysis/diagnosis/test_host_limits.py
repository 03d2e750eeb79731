# SPDX-License-Identifier: MIT
from dataclasses import replace

import pytest

from tests.support.pipelines import back_to_back, one_by_one, with_gpu
from tests.support.run_records import MS, batch, run_of, stage
from virnuc_profiler.analysis.diagnosis.bottlenecks import LABELS
from virnuc_profiler.analysis.diagnosis.diagnose import diagnose_run
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.reports.diagnosis_text import render_diagnosis
from virnuc_profiler.reports.performance_text import generate_performance_report
from virnuc_profiler.reports.run_page import render_page
from virnuc_profiler.telemetry.records import MACHINE, PROCESS, HostCapture, StopRecord

QUOTA = HostCapture(0.25, 0.25, 342, 338, 90_000 * MS, 500 * MS)


def waiting(workers=4, fetch_ms=60):
    """A run of 12 batches of 100 ms that waits for the loader."""
    batches = [
        batch(n, 100 * n, 100 * n + 100, [stage("fetch", 100 * n, 100 * n + fetch_ms),
                                          stage("forward", 100 * n + fetch_ms, 100 * n + 100)])
        for n in range(12)
    ]  # fmt: skip
    return run_of(batches, 1200, metadata={"config": {"num_workers": workers}})


def test_a_used_up_quota_is_the_bottleneck_of_work_on_the_host():
    found = diagnose_run(replace(waiting(), host=QUOTA))
    assert (found.bottleneck, LABELS[found.bottleneck]) == ("cpu_quota", "the CPU quota")
    assert "bound by its CPU quota of 0.25 cores: it was used up in 98.8% of its periods" in found.sentence
    assert "docker run --cpus" in found.sentence
    assert "Use more workers" not in found.sentence
    assert found.further[0].startswith("Also waiting for data: 60.0%")
    evidence = dict(found.evidence)
    assert evidence["CPU quota"] == "0.25 cores"
    assert evidence["periods in which the CPU quota was used up"] == "338 of 342 (98.8%)"
    assert evidence["time in which a thread waited for a core"] == "41.7%"


def test_a_quota_that_sometimes_holds_the_run_back_is_mentioned():
    found = diagnose_run(replace(waiting(), host=replace(QUOTA, throttled_periods=60)))
    assert found.bottleneck == "data_loading"
    assert found.further == ("Also the CPU quota of 0.25 cores: it was used up in 17.5% of its periods.",)


@pytest.mark.parametrize("throttled", [0, 20])
def test_a_quota_that_suffices_says_nothing(throttled):
    host = HostCapture(4, 4.0, 342, throttled, 0, 500 * MS)
    found, without = diagnose_run(replace(waiting(2), host=host)), diagnose_run(waiting(2))
    assert (found.bottleneck, found.sentence, found.further) == (without.bottleneck, without.sentence, without.further)


def test_a_device_that_is_never_idle_stays_healthy_under_a_quota():
    found = diagnose_run(replace(with_gpu(back_to_back()), host=QUOTA))
    assert (found.healthy, found.bottleneck) == (True, "device")
    assert dict(found.evidence)["CPU quota"] == "0.25 cores"


def test_a_wait_for_the_device_is_not_blamed_on_the_quota():
    found = diagnose_run(replace(one_by_one(), host=QUOTA))
    assert found.bottleneck == "synchronizing"
    assert any("the CPU quota" in line for line in found.further)


@pytest.mark.parametrize(("workers", "cores", "cautioned"), [(4, 2, True), (2, 2, True), (1, 2, False), (4, 8, False)])
def test_more_workers_are_advised_only_where_cores_are_left(workers, cores, cautioned):
    found = diagnose_run(replace(waiting(workers), host=HostCapture(usable_cores=cores)))
    assert found.bottleneck == "data_loading"
    assert (f"can use only {cores} cores, which {workers} workers" in found.sentence) == cautioned


def stopped(run, **changes):
    return replace(
        run, stops=(StopRecord(**{"start_ns": 0, "end_ns": 600 * MS, "what": PROCESS, "pid": 7, **changes}),)
    )


def test_an_interrupted_run_says_so_in_diagnosis_report_and_telemetry():
    run = stopped(waiting())
    warning = "The run was interrupted: this process stood still for 0.6 of 1.2 s, which the rates include."
    assert warning in " ".join(render_diagnosis(run).split())
    summary = run_summary(run)
    assert (summary["stopped_seconds"], summary["suspended_seconds"]) == (0.6, 0.0)
    assert warning in summary["diagnosis"]
    text = generate_performance_report(run)
    assert "Stopped (signal, debugger, freezer):" in text
    assert "s of 1.20 s: rates include it, measure again" in text


def test_a_stop_too_short_to_matter_gets_no_warning():
    run = stopped(waiting(), end_ns=5 * MS)
    text = generate_performance_report(run)
    assert "s of 1.20 s: too short to change the rates" in text
    assert "measure again" not in text.lower()
    assert "Stopped:" not in render_page(run)
    assert "Stopped: 0.600 s of that" in render_page(stopped(waiting()))


def test_a_machine_that_slept_says_so():
    run = stopped(waiting(), end_ns=0, what=MACHINE, pid=None, suspended_ns=3_600_000 * MS)
    assert "The run was interrupted: the machine slept for 3,600.0 s. Measure again." in diagnose_run(run).sentence
    assert "Machine asleep:" in generate_performance_report(run)


def test_the_summary_names_the_quota_and_an_undisturbed_run_has_no_lines_on_the_host():
    run = replace(waiting(), host=QUOTA, stops=())
    summary = run_summary(run)
    assert summary["cpu_quota_cores"] == summary["cpu_usable_cores"] == 0.25
    assert (summary["cpu_quota_periods"], summary["cpu_throttled_periods"]) == (342, 338)
    assert summary["cpu_throttled_seconds"] == 90.0
    assert summary["cpu_pressure_fraction"] == pytest.approx(0.5 / 1.2)
    text = generate_performance_report(run)
    assert "338 of 342 (98.8%)" in text
    quiet = generate_performance_report(
        replace(waiting(), host=HostCapture(2, quota_periods=0, throttled_periods=0), stops=())
    )
    assert "CPU time" not in quiet
    assert "Interrupted" not in quiet


def test_a_run_that_was_not_watched_has_no_such_keys():
    assert not {"stopped_seconds", "cpu_usable_cores"} & run_summary(waiting()).keys()
