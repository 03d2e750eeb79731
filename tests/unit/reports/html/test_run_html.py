# SPDX-License-Identifier: MIT
"""The page of a run of each kind: useful, complete, and harmless."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.long_runs import long_run

from tests.support.run_records import batch, packing, run_of, stage
from virnuc_profiler.analysis.summary.run_findings import findings_of
from virnuc_profiler.reports.html.page import REPORT_MARK
from virnuc_profiler.reports.html.run.run_answer import run_answer
from virnuc_profiler.reports.html.run_html import render_run_html
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.parts.kernel_records import KernelActivity, KernelTotal, StageActivity
from virnuc_profiler.telemetry.records import DeviceCapture, StopRecord
from virnuc_profiler.telemetry.run_result import RunResult

DATA = Path(__file__).parents[3] / "data"


def batches_on_cpu(count, stages=("fetch", "forward")):
    return [
        batch(
            number,
            10 * number,
            10 * number + 9,
            [stage(stages[0], 10 * number, 10 * number + 4), stage(stages[1], 10 * number + 4, 10 * number + 9)],
            packing([5, 9 + number], 60 + number),
        )
        for number in range(count)
    ]


def text_of(page: str) -> str:
    """What a reader sees of a page, without the data of its charts."""
    page = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


@pytest.mark.parametrize("elapsed_ms", [0, 100])
def test_an_empty_run(elapsed_ms):
    page = render_run_html(run_of([], elapsed_ms), "run.json")
    text = text_of(page)
    assert str(REPORT_MARK) in page
    assert "No batch was recorded" in text
    assert "there is nothing to show" in text
    assert "Device times were not captured: no GPU." in text


def test_one_batch_on_the_cpu():
    text = text_of(render_run_html(run_of(batches_on_cpu(1), 12)))
    assert "1 batches" not in text
    assert "What limits this run cannot be told" in text
    assert "GPU · idle" not in text
    assert "The GPU was not sampled" in text


def test_a_short_run_says_that_its_figures_include_its_warm_up():
    run = run_of(
        [batch(0, 0, 9, [stage("fetch", 0, 1), stage("forward", 1, 9, (2, 8))])], 12,
        device=DeviceCapture("GPU", uuid="GPU-0", timed=True),
    )  # fmt: skip
    text = text_of(render_run_html(run))
    assert "GPU in stages, at most 50.0% whole run, its warm-up included" in text
    assert "after warm-up" not in text


def test_a_run_that_was_stopped():
    run = run_of(batches_on_cpu(40), 900)
    stopped = text_of(render_run_html(replace(run, stops=(StopRecord(400_000_000, 850_000_000, "process", 7),))))
    assert "stood still for 0.5 of 0.9 s, which the rates include" in stopped
    assert "behind the stages: the run was stopped" in stopped
    assert "was stopped" not in text_of(render_run_html(replace(run, stops=())))


def test_a_long_run_that_was_stopped_after_the_part_that_is_judged():
    run = replace(run_of(batches_on_cpu(40), 900), stops=(StopRecord(400_000_000, 850_000_000, "process", 7),))
    sentences = run_answer(findings_of(run, max_judged=20, part=10)).sentences
    assert any("stood still for 0.5 of 0.9 s" in sentence for sentence in sentences)


def test_large_counts_are_readable():
    metadata = {"parameters": 7408960, "peak_memory_gb": 0.100457472, "workload": {"num_sequences": 20000}}
    text = text_of(render_run_html(run_of(batches_on_cpu(1), 12, metadata=metadata)))
    assert "Parameters 7,408,960" in text
    assert "Peak memory, GB 0.100 " in text
    assert "Sequences 20,000" in text


def test_a_run_on_the_cpu():
    text = text_of(render_run_html(run_of(batches_on_cpu(40), 420)))
    for title in ("Timeline", "Stage times", "Packing", "Start-up", "Diagnosis", "Fine print"):
        assert title in text
    assert "forward host 40" in text


def test_a_run_without_all_of_its_device_times():
    device = DeviceCapture("GPU", uuid="GPU-0", timed=True, dropped_batches=14)
    records = []
    for number in range(40):
        at, lost = 10 * number, number % 3 == 0
        forward = stage("forward", at + 4, at + 5, None if lost else (at + 5, at + 14))
        records.append(batch(number, at, at + 19, [forward], dropped=lost))
    text = text_of(render_run_html(run_of(records, 420, device=device)))
    assert "Device times of 14 batches are missing or incomplete" in text
    assert "14 of 40 batches" in text


@pytest.mark.parametrize(
    "path", sorted(DATA.glob("v1.*/run_*.json")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_a_run_of_an_older_version(path):
    run = RunResult.load(path)
    text = text_of(render_run_html(run, path.name))
    assert run.run_id in text
    assert "The file predates the measurement of the cost of profiling." in text or run.cost is not None


def test_hostile_texts_do_nothing():
    evil = "</script><script>window.hacked = 1</script>\x1b[31m\u202e$$x$$" + "A" * 10_000
    names = (evil, f"{evil}2", "=1+1")
    table = run_of(batches_on_cpu(8), 90).batches
    run = replace(
        run_of([], 90, metadata={"model_name": evil, "workload": {"path": evil}, "config": {evil: evil}}),
        run_id=evil,
        stage_names=names,
        batches=BatchTable.from_columns(names, _renamed(table.to_columns())),
        device=DeviceCapture(evil, reason=evil),
    )
    page = render_run_html(run, evil)
    assert "<script>window" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "$$x$$" not in "".join(
        re.findall(r'<script type="application/json" id="figure-.*?</script>', page, re.DOTALL)
    )


def _renamed(columns):
    return {**columns, "stages": {**columns["stages"], "stage": [value % 3 for value in columns["stages"]["stage"]]}}


def test_captured_kernels_have_a_section():
    kernels = KernelActivity(
        batches=4, first_batch=7, window_ns=4_000_000, busy_ns=3_000_000, idle_in_stages_ns=600_000,
        idle_between_ns=400_000, launches=40, operations=80, reference_ns=3_900_000,
        stages=(StageActivity("forward", 36, 76, 2_900_000, 2_800_000, 3_400_000, 600_000),),
        kernels=(KernelTotal("forward", "attention<__half>", 24, 1_500_000), KernelTotal(None, "memcpy", 4, 100_000)),
    )  # fmt: skip
    text = text_of(render_run_html(replace(run_of(batches_on_cpu(8), 90), kernels=kernels)))
    assert "attention&lt;__half&gt; forward 24" in text
    assert "GPU busy at the loop" in text
    assert "Kernels were not recorded" not in text


def test_a_long_run_is_diagnosed_by_its_beginning(monkeypatch):
    from virnuc_profiler.analysis.summary import run_findings

    run = long_run(3000)
    whole = run_findings.findings_of(run)
    part = run_findings.findings_of(run, max_judged=1000, part=500)
    assert (whole.judged_batches, part.judged_batches) == (None, 500)
    same = ("elapsed_seconds", "steady_tokens_per_sec", "avg_gpu_util", "padding_tokens", "dropped_device_timings")
    assert {key: whole.summary[key] for key in same} == {key: part.summary[key] for key in same}
    monkeypatch.setattr(run_findings.findings_of, "__kwdefaults__", {"max_judged": 1000, "part": 500})
    assert "diagnosis is that of the first 500 of 3,000 batches" in text_of(render_run_html(run))


def test_a_batch_takes_some_fifty_bytes():
    small, large = (len(render_run_html(long_run(count))) for count in (2_000, 12_000))
    assert (large - small) / 10_000 < 58  # so that 100,000 batches and 1.5 MB of scripts stay below 8 MB
