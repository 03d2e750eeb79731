# SPDX-License-Identifier: MIT
import re

import pytest

from tests.support.pipelines import back_to_back, one_by_one
from tests.support.run_records import batch, run_of, stage
from virnuc_profiler import TelemetryLogger, generate_performance_report
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.cli.main import main
from virnuc_profiler.reports.diagnosis_text import render_diagnosis
from virnuc_profiler.sweep.trial.run_files import record_run


def test_verdict_evidence_and_gaps():
    text = render_diagnosis(back_to_back(pause_ms=16.02))
    assert text.splitlines()[0] == "Diagnosis"
    assert "bound by data loading: the run spends 50.0%" in text
    assert "in device stages, at most:" in text
    assert "busy" not in text
    row = next(line for line in text.splitlines() if line.strip().startswith("waiting for data"))
    assert [cell.strip() for cell in row.split("|")] == ["waiting for data", "36", "576.72", "50.0%"]


def test_without_gaps_there_is_no_table_of_them():
    assert "Outside device stages" not in render_diagnosis(back_to_back())


def test_a_run_on_the_cpu():
    text = render_diagnosis(run_of([batch(n, n, n + 1, [stage("forward", n, n + 1)]) for n in range(9)], 9))
    assert "not measured (no GPU)" in text


def test_the_summary_has_what_the_device_did():
    run = one_by_one(count=20)
    summary = run_summary(run)
    assert summary["bound_by"] == "synchronizing"
    assert summary["diagnosis"].startswith("After warm-up, the largest loss is synchronizing")
    gaps = summary["device_gap_seconds"]
    assert gaps["synchronizing"] > 0
    busy = summary["device_stages_fraction"] * run.elapsed_s
    assert sum(gaps.values()) + busy == pytest.approx(run.elapsed_s)
    assert run_summary(run_of([batch(0, 0, 10)], 10))["device_gap_seconds"] is None


def test_reports_of_files_show_the_diagnosis(tmp_path, capsys):
    path = record_run(TelemetryLogger(tmp_path, "one"), one_by_one(count=20))
    report = generate_performance_report(path)
    assert re.search(r"Largest loss after warm-up: +synchronizing", report)
    assert "Device idle, synchronizing:" in report
    assert main(["report", str(tmp_path / "run_one.json")]) == 0
    assert "After warm-up, the largest loss is synchronizing" in capsys.readouterr().out
