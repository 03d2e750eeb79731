# SPDX-License-Identifier: MIT
"""The page on a run: the answer in about ten lines, and nothing that does not apply."""

import pytest

from tests.support.run_records import MS, batch, packing, run_of, samples, stage
from virnuc_profiler.analysis.summary.performance_figures import summarize_performance
from virnuc_profiler.reports.performance_text import render_performance
from virnuc_profiler.reports.renderers import TextRenderer
from virnuc_profiler.reports.run_page import render_page
from virnuc_profiler.reports.telemetry_file import load_telemetry
from virnuc_profiler.telemetry.records import DeviceCapture, GpuReading


def run(batches=40, *, device="cpu", percent=100, planned=None, budget=256, passes=None):
    """A run of batches of one second each."""
    records = [
        batch(n, n * 1000, n * 1000 + 1000, [stage("forward", n * 1000, n * 1000 + 990)], packing([120, 128], budget))
        for n in range(batches)
    ]
    metadata = {"device": device, "workload": {"num_sequences": planned or 2 * batches}}
    if passes is not None:
        metadata["passes"] = passes
    if device == "cpu":
        return run_of(records, batches * 1000, metadata=metadata)
    times_ms = range(0, batches * 1000 + 1, 100)
    gpu = samples(fast=tuple(GpuReading(ms * MS, percent) for ms in times_ms))
    metadata["peak_memory_gb"] = 3.21
    return run_of(records, batches * 1000, gpu=gpu, device=DeviceCapture("GPU"), metadata=metadata)


def test_a_run_on_the_cpu_is_held_to_no_requirement_of_a_gpu():
    page = render_page(run())
    lines = page.splitlines()
    assert lines[0].startswith("Ran:     80 sequences, 9,920 tokens in 40 batches, 40.0 s")
    assert "Rate:    2.00 sequences/s, 248 tokens/s over the whole run" in lines
    assert "tokens/s (too short for an interval) after warm-up" in " ".join(page.split())
    assert "Packing: 96.9% of the token budget" in lines
    assert sum(line.startswith("Verdict: ") for line in lines) == 1
    assert len(lines) <= 10
    assert max(map(len, lines)) <= 80
    assert not any(word in page for word in ("PERF", "6M", "FAIL", "GPU:", "n/a", "Profiling"))


def test_a_run_on_a_gpu_names_what_it_misses():
    page = " ".join(render_page(run(device="cuda:0", percent=40)).split())
    assert "GPU: 40.0% utilization, 3.21 GB of memory at most" in page
    assert "PERF-01 (projected 6M sequences < 10 h) FAILED with 833.3 h; " in page
    assert "PERF-02 (GPU utilization >= 70%) FAILED with 40.0%; " in page
    assert "PERF-05 (packing efficiency >= 90%) passed" in page


def test_a_run_of_few_batches_is_held_to_no_projection():
    page = render_page(run(3, device="cuda:0"))
    assert "too short for a diagnosis" in page
    assert "Use more sequences" in " ".join(page.split())
    assert "PERF-01" not in page
    report = TextRenderer().run(run(3, device="cuda:0"))
    assert "The run is too short to tell: it has too few batches for a steady rate." in report


def test_a_run_that_ended_early_says_so():
    assert render_page(run(planned=90)).startswith("Ran:     80 of 90 sequences (it ended early), ")


def test_a_run_that_went_to_its_end_and_recorded_less_is_not_said_to_have_ended_early():
    miscounted = run(planned=90)
    miscounted.metadata.update(status="failed", failure={"evidence": {"recorded_sequences": 80}})
    assert render_page(miscounted).startswith("Ran:     80 of 90 sequences (its counts differ), ")
    assert "80 of 90: its counts differ\n" in TextRenderer().run(miscounted)


def test_a_run_of_several_passes_names_them():
    assert render_page(run(planned=20, passes=4)).startswith("Ran:     80 sequences in 4 passes over 20, 9,920 tokens")
    early = render_page(run(planned=60, passes=1))
    assert early.startswith("Ran:     80 sequences in 1 pass over 60 (it ended early), ")
    stopped = run(planned=20, passes=4)
    stopped.metadata["status"] = "interrupted"
    assert render_page(stopped).startswith("Ran:     80 sequences in 4 passes over 20 (it ended early), ")
    reports = [TextRenderer().run(run(planned=planned, passes=passes)) for planned, passes in ((20, 4), (60, 1))]
    assert "80 (4 passes over 20)\n" in reports[0]
    assert "80 (1 pass over 60): the run ended early\n" in reports[1]


def test_the_report_gives_the_interval_of_the_steady_rate_or_says_why_there_is_none():
    assert "95% interval: 248 to 248)" in TextRenderer().run(run(200))
    assert "too short for an interval)" in TextRenderer().run(run(20))


def test_the_page_gives_the_interval_too():
    for batches, known in ((200, "95% interval: 248 to 248"), (20, "too short for an interval")):
        page = " ".join(render_page(run(batches)).split())
        assert f" 2.00 sequences/s, 248 tokens/s ({known}) after warm-up" in page


@pytest.mark.parametrize("high", [10**400, float("nan"), "fast", None, [1]])
def test_an_interval_of_another_writer_that_is_none_does_no_harm(high):
    performance = summarize_performance(load_telemetry(run(200)))
    performance.summary["steady_interval"] = {"state": "settled", "confidence": 0.95, "low": 1, "high": high}
    assert "95% interval: 1" in render_performance(performance)


def test_one_of_everything_is_singular():
    one = run_of([batch(0, 0, 1000, pack=packing([3], 4))], 1000, metadata={"device": "cpu"})
    assert "1 sequence, 3 tokens in 1 batch, " in render_page(one)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_the_whole_report_says_nothing_twice(device):
    report = TextRenderer().run(run(device=device))
    assert report.splitlines().count("Diagnosis") == 1
    assert report.count("Profiling took") <= 1
    assert ("PERF-01" in report) == (device != "cpu") or "asked of GPUs" in report
    assert report.count(" FAIL") == (device != "cpu")


def test_telemetry_alone_keeps_its_diagnosis():
    report = render_performance(summarize_performance(load_telemetry(run())))
    assert report.splitlines().count("Diagnosis") == 1
    assert "PERF-01 and PERF-02 are asked of GPUs; this run was on the CPU." in report
    assert "FAIL" not in report
