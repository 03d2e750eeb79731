# SPDX-License-Identifier: MIT
"""Targets that are measured in this process: what they do right, and all they can do wrong without ending it."""

import json

import pytest

from virnuc_profiler.sweep.plan.request import DeviceName, Request
from virnuc_profiler.sweep.plan.workload import read_workload
from virnuc_profiler.sweep.trial import contamination
from virnuc_profiler.sweep.trial.measured_target import MeasuredTarget
from virnuc_profiler.telemetry.reader import read_telemetry
from virnuc_profiler.telemetry.run_result import RunResult

TOY = "tests.support.toy_target:make"
SEQUENCES = 60
TOKENS = sum(6 * (number % 3 + 1) + 2 for number in range(SEQUENCES))


@pytest.fixture(autouse=True)
def no_recorded_leaks(monkeypatch):
    monkeypatch.setattr(contamination, "_recorded_leaks", [])


@pytest.fixture
def workload(tmp_path):
    path = tmp_path / "proteins.fasta"
    path.write_text("".join(f">p{number}\n{'MKVLAT' * (number % 3 + 1)}\n" for number in range(SEQUENCES)))
    return read_workload(path, "a test")


@pytest.fixture
def measured(tmp_path, request):
    options = {"cooldown_s": "auto", "target": TOY, "model": None, **getattr(request, "param", {})}
    with MeasuredTarget(Request(tmp_path / "out", DeviceName("cpu"), **options)) as target:
        yield target


def run(measured, workload, folder, **knobs):
    return measured.run_trial(workload, measured.knobs.baseline.replace(**knobs), folder / "out")


def test_a_success_has_the_figures_of_its_telemetry_and_says_what_ran(measured, workload, tmp_path):
    result = run(measured, workload, tmp_path)
    assert (result.status, result.outcome, result.passes) == ("success", "ok", 1)
    assert result.cleanup["clean"] is True
    document = read_telemetry(result.telemetry_path)
    summary, metadata = document["summary"], document["run_metadata"]
    assert (summary["total_sequences"], summary["total_tokens"]) == (SEQUENCES, TOKENS)
    assert summary["total_batches"] == 8
    assert metadata["target"] == {"name": "toy", "model_name": "none", "precision": "fp32", "versions": {"toy": "1"}}
    assert metadata["versions"]["toy"] == "1"
    assert metadata["config"] == {"batch_size": 8, "fault": "none"}
    assert RunResult.load(result.run_path).total_sequences == SEQUENCES
    json.dumps(result.to_json(), allow_nan=False)


def test_padding_is_what_packing_efficiency_falls_short_of(measured, workload, tmp_path):
    result = run(measured, workload, tmp_path)
    batches = [range(start, min(start + 8, SEQUENCES)) for start in range(0, SEQUENCES, 8)]
    padded = sum(len(batch) * 20 for batch in batches)
    assert result.packing_efficiency == pytest.approx(TOKENS / padded, abs=0.02)
    assert read_telemetry(result.telemetry_path)["summary"]["padding_tokens"] == padded - TOKENS
