# SPDX-License-Identifier: MIT
"""Results, documents and recommendations survive their JSON, and keep what they do not know."""

import json
from dataclasses import replace

import pytest

from tests.support.sweeps import failure, fake_sweep, not_tried, success
from virnuc_profiler.analysis.confidence.rate_interval import RateInterval
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.results.document import BestConfiguration, Document
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.result_files import read_best, read_step
from virnuc_profiler.targets.knobs.configuration import BASELINE

INTERVAL = RateInterval("settled", 9.0, 8.5, 9.5, 0.95, 20, (10**9, 2 * 10**9))
BF16 = BASELINE.replace(precision="bf16")


def through_json(record):
    return type(record).from_json(json.loads(json.dumps(record.to_json())))


@pytest.mark.parametrize(
    "result",
    [
        success(BASELINE, cleanup={"workers_left": []}, gpu_util=None),
        success(BF16, model={"precision": "bf16"}, model_reloaded=False),
        failure(BASELINE, memory="host"),
        not_tried(BASELINE),
        replace(not_tried(BASELINE), available_memory_gb=0.0),
        success(BASELINE, extra={"energy_j": 12.5}),
        success(BASELINE, passes=3, measured_sec=3.5, steady_tokens_per_sec=9.0, rate_interval=INTERVAL.to_json()),
    ],
)
def test_a_result_survives_its_json(result):
    assert through_json(result) == result


def test_the_interval_of_a_result_is_read_from_its_json():
    assert success(BASELINE, rate_interval=INTERVAL.to_json()).interval == INTERVAL
    assert success(BASELINE).interval is None


def test_a_success_has_its_documented_keys_even_where_nothing_was_measured():
    found = success(BASELINE, gpu_util=None, peak_memory_gb=None).to_json()
    assert {"status", "config", "elapsed_sec", "sequences_per_sec", "tokens_per_sec", "gpu_util", "packing_efficiency",
            "peak_memory_gb", "telemetry_path", "cleanup", "outcome", "evidence"} <= set(found)  # fmt: skip
    assert found["gpu_util"] is found["peak_memory_gb"] is None
    assert not {"reason", "predicted", "model", "model_reloaded", "measured_under", "memory"} & set(found)


def test_a_failure_has_no_rates():
    found = failure(BASELINE, memory="device").to_json()
    assert (found["reason"], found["memory"]) == ("OOM", "device")
    assert not {"elapsed_sec", "sequences_per_sec", "predicted"} & set(found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config": None}, "it has no config"),
        ({"config": {"num_workers": 4}}, "prefetch_factor is missing"),
        ({"config": {**BASELINE.to_json(), "lanes": 2}}, "'lanes' is not a knob of the built-in target"),
        ({"status": "failed"}, "it has no reason"),
        ({"sequences_per_sec": "fast"}, "sequences_per_sec is 'fast'"),
        ({"predicted": 1}, "predicted is 1"),
        ({"cleanup": []}, "cleanup is"),
    ],
)
def test_a_result_of_another_form_is_refused(change, words):
    with pytest.raises(TelemetryFormatError, match=words):
        Result.from_json({**success(BASELINE).to_json(), **change})


@pytest.fixture
def swept(tmp_path):
    grid = {"num_workers": [2], "prefetch_factor": [2], "precision": ["fp32", "bf16"]}
    fake_sweep(tmp_path, grid=grid).run(["baseline", "dataloader", "validation"])
    return tmp_path


@pytest.mark.parametrize("name", ["baseline.json", "dataloader_sweep.json", "optimal_validation.json"])
def test_a_document_is_read_as_it_was_written(swept, name):
    written = json.loads((swept / name).read_text())
    document = read_step(swept / name)
    assert document.to_json() == written
    assert through_json(document) == document


def test_a_recommendation_is_read_as_it_was_written(swept):
    best = read_best(swept / "best_config.json")
    assert best.to_json() == json.loads((swept / "best_config.json").read_text())
    assert best.choice.configuration.precision == "fp32"
    assert through_json(best) == best


@pytest.mark.parametrize(
    ("kind", "name"), [(Document, "dataloader_sweep.json"), (BestConfiguration, "best_config.json")]
)
def test_unknown_keys_are_kept(swept, kind, name):
    values = {**json.loads((swept / name).read_text()), "carbon_g": 3}
    assert kind.from_json(values).to_json()["carbon_g"] == 3
