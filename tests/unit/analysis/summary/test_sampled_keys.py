# SPDX-License-Identifier: MIT
"""From the readings of a run to its telemetry, its report and its verdict."""

import pytest

from tests.support.run_records import MS, batch, packing, run_of, samples
from virnuc_profiler import generate_performance_report
from virnuc_profiler.analysis.summary.performance_figures import summarize_performance
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.analysis.summary.run_telemetry import telemetry_document
from virnuc_profiler.reports.performance_text import render_performance
from virnuc_profiler.reports.telemetry_file import load_telemetry, write_telemetry
from virnuc_profiler.telemetry.reader import read_telemetry
from virnuc_profiler.telemetry.records import DeviceCapture, EnergyReading, GpuReading, SamplerTierRecord

SECONDS = 60


def sampled(times_ms, percent=100, reasons=0, energy_until_s=SECONDS, seconds=SECONDS, errors=0):
    """A run whose fast readings are at some times, and whose energy counter, of 500 W, ends early."""
    gpu = samples(
        fast=tuple(GpuReading(ms * MS, percent, power_mw=500_000, throttle_reasons=reasons) for ms in times_ms),
        energy=tuple(EnergyReading(n * 1000 * MS, n * 500_000) for n in range(energy_until_s + 1)),
        tiers=(SamplerTierRecord("fast", 100.0, len(times_ms), 0, errors, False, ""),),
    )
    batches = [batch(n, n * 1000, n * 1000 + 1000, [], packing([200], 256)) for n in range(seconds)]
    return run_of(batches, seconds * 1000, gpu=gpu, device=DeviceCapture("GPU"))


def lines_of(run, tmp_path):
    """Return the lines of the run's report, through its telemetry file, by label."""
    path = write_telemetry(run, tmp_path / "telemetry_x.json")
    read_telemetry(path)
    lines = (line.strip() for line in generate_performance_report(path).splitlines())
    return {line[:7] if line.startswith("PERF") else line.split(":")[0]: line.split("  ")[-1].strip() for line in lines}


WHOLE = range(0, 60_001, 100)
STOPS = range(0, 6000, 100)
HOLE = [*range(0, 6000, 100), *range(54_000, 60_001, 100)]
TWO_THIRDS = range(0, 40_001, 100)


@pytest.mark.parametrize("times_ms", [STOPS, HOLE, [30_000]])
def test_a_run_that_was_hardly_seen_has_no_utilization_and_no_verdict(times_ms, tmp_path):
    found = lines_of(sampled(times_ms), tmp_path)
    assert found["GPU"].startswith("n/a (")
    assert "of the run sampled" in found["GPU"]
    assert found["Power, highest 1 s average"].startswith("n/a (")
    assert found["Batches under lower clocks"].startswith("n/a (")
    assert found["PERF-02"] == "NOT MEASURED"


def test_batches_that_were_sampled_do_not_speak_for_the_run():
    """The batches of the first 6 s have a utilization; the summary must not fall back to their mean."""
    document = telemetry_document(sampled(STOPS))
    assert [record["gpu_util"] for record in document["per_batch_metrics"]].count(100.0) == 6
    assert document["summary"]["avg_gpu_util"] is None


def test_a_run_that_was_seen_as_a_whole_needs_no_remark(tmp_path):
    found = lines_of(sampled(WHOLE, 71), tmp_path)
    assert found["GPU"] == "71.0% (batches 71.0% to 71.0%)"
    assert found["Energy"] == "30,000.0 J"
    assert found["PERF-02"] == "PASS"


def test_a_value_that_is_not_whole_carries_its_coverage(tmp_path):
    found = lines_of(sampled(TWO_THIRDS, 71, energy_until_s=36), tmp_path)
    assert found["GPU"].startswith("71.0% (of 67% of the run, 400 readings)")
    assert found["PERF-02"] == "CANNOT TELL"
    assert found["Energy"] == "18,000.0 J (of 60% of the run, 37 readings)"
    assert found["Power, mean"] == "500.0 W (of 60% of the run, 37 readings)"
    assert lines_of(sampled(TWO_THIRDS, 5), tmp_path)["PERF-02"] == "FAIL"  # at most 37 %


def test_energy_of_a_sixth_of_the_run_is_not_that_of_the_run(tmp_path):
    run = sampled(WHOLE, energy_until_s=10)
    summary = run_summary(run)
    assert (summary["energy_joules"], summary["energy_seconds"], summary["joules_per_sequence"]) == (None, 10.0, None)
    assert summary["sampling_coverage"]["energy_joules"]["share"] == pytest.approx(1 / 6)
    assert lines_of(run, tmp_path)["Energy"] == "n/a (17% of the run sampled, 11 readings)"


def test_a_short_run_says_how_far_its_utilization_may_be_off(tmp_path):
    found = lines_of(sampled(range(0, 5001, 100), 75, seconds=5, energy_until_s=5), tmp_path)
    assert found["GPU"].startswith("75.0% (within 10 points: short run)")
    assert found["PERF-02"] == "CANNOT TELL"
    shorter = sampled(range(0, 1001, 100), seconds=1, energy_until_s=1)
    assert lines_of(shorter, tmp_path)["GPU"].startswith("100.0% (within 50 points: short run)")


def test_throttling_of_a_small_part_is_not_that_of_the_run():
    assert run_summary(sampled(WHOLE, reasons=0x4))["throttled_seconds"] == {"sw_power_cap": pytest.approx(60)}
    for times_ms in (STOPS, HOLE):
        summary = run_summary(sampled(times_ms, reasons=0x4))
        assert (summary["throttled_seconds"], summary["throttled_batches"]) == (None, None)


def test_readings_that_failed_near_the_end_leave_a_value_with_its_coverage():
    summary = run_summary(sampled(range(0, 45_001, 100), 80, errors=150))
    assert summary["gpu_sampling_lost_after_seconds"] == 45.0
    assert summary["avg_gpu_util"] == pytest.approx(80)
    assert summary["sampling_coverage"]["avg_gpu_util"]["share"] == pytest.approx(0.75)


def test_a_gpu_that_was_never_sampled_has_no_coverage():
    assert run_summary(sampled([], energy_until_s=0))["sampling_coverage"] == {}
    assert "sampling_coverage" not in run_summary(run_of([batch(0, 0, 10)], 10))


def test_values_of_a_few_batches_of_another_writer(tmp_path):
    from tests.unit.reports.test_performance_text import value_of, verdict, write

    batches = [{"gpu_util": 100.0}, *[{"num_tokens": 5}] * 99]
    report = generate_performance_report(write(tmp_path, {"avg_gpu_util": 100.0}, batches))
    assert value_of(report, "GPU").startswith("n/a (1% of the run sampled, 1 reading)")
    assert verdict(report, "PERF-02") == "NOT MEASURED"
    otherwise = generate_performance_report(write(tmp_path, {"avg_gpu_util": 80.0}, batches))
    assert verdict(otherwise, "PERF-02") == "PASS"  # the writer measured it itself


def test_the_highest_power_is_named_for_what_it_is_and_left_out_where_it_shows_nothing(tmp_path):
    label = "Power, highest 1 s average"
    assert lines_of(sampled(WHOLE), tmp_path)[label] == "500.0 W"
    document = load_telemetry(sampled(WHOLE))
    for changes in ({"mean_power_watts": 700.0}, {"elapsed_seconds": 0.55}):
        changed = {**document, "summary": {**document["summary"], **changes}}
        (line,) = [line for line in render_performance(summarize_performance(changed)).splitlines() if label in line]
        assert line.split(":")[1].strip() == "n/a"
