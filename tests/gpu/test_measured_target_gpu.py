# SPDX-License-Identifier: MIT
"""A target on a real device: stages on the device, the memory forecast from its probe, and running out of memory."""

import numpy as np
import pytest
import torch

from virnuc_profiler import pack_statistics
from virnuc_profiler.sweep.plan.request import Request
from virnuc_profiler.sweep.plan.workload import generate_tuning_workload, read_workload
from virnuc_profiler.sweep.trial import contamination
from virnuc_profiler.sweep.trial.measured_target import MeasuredTarget
from virnuc_profiler.targets.knobs.knob import IntegerKnob
from virnuc_profiler.telemetry.reader import read_telemetry
from virnuc_profiler.telemetry.run_result import RunResult

pytestmark = pytest.mark.gpu

BYTES_PER_TOKEN = 1 << 20
WEIGHTS = 64 << 20
TARGET = "tests.gpu.test_measured_target_gpu:PaddedTarget"


class PaddedTarget:
    """Holds weights that it loads when it first runs, and takes a mebibyte for each token of a padded batch."""

    min_packing = None

    def __init__(self, options):
        self.device = torch.device(options.device)
        self.weights = None

    def describe(self):
        return {"name": "padded", "precision": "fp32"}

    def knobs(self):
        return [IntegerKnob(name="batch_size", default=8, low=1, high=1 << 20, tries=(8, 32))]

    def run(self, workload, configuration, profiler):
        records, size = list(workload.records()), configuration.batch_size
        for batch in profiler.batches([records[start : start + size] for start in range(0, len(records), size)]):
            lengths = np.array([len(residues) + 2 for _, residues in batch])
            ends = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
            padded = int(len(batch) * lengths.max())
            profiler.current_batch.set_packing(pack_statistics(ends, padded))
            with profiler.stage("forward"):
                self.compute(padded)
            yield len(batch)

    def probe(self, configuration, tokens):
        self.compute(tokens)

    def compute(self, tokens):
        if self.weights is None:
            self.weights = torch.ones(WEIGHTS, dtype=torch.uint8, device=self.device)
        activations = torch.zeros(tokens, BYTES_PER_TOKEN, dtype=torch.uint8, device=self.device)
        activations.add_(1)
        torch.cuda.synchronize(self.device)

    def close(self):
        self.weights = None


@pytest.fixture(autouse=True)
def no_recorded_leaks(monkeypatch):
    monkeypatch.setattr(contamination, "_recorded_leaks", [])


@pytest.fixture
def workload(tmp_path):
    return read_workload(generate_tuning_workload(tmp_path, 64), "a test")


@pytest.fixture
def measured(tmp_path):
    device = torch.device("cuda", torch.cuda.current_device())
    request = Request(tmp_path / "out", device, None, cooldown_s=0.0, target=TARGET)
    with MeasuredTarget(request) as measured:
        yield measured


def test_the_stages_of_a_target_are_timed_on_the_device(measured, workload, tmp_path):
    measured.warm_up(workload)
    result = measured.run_trial(workload, measured.knobs.baseline, tmp_path)
    assert (result.status, result.cleanup["clean"]) == ("success", True)
    run = RunResult.load(result.run_path)
    assert run.device.timed
    forward = [stage for batch in run.batches for stage in batch.stages if stage.name == "forward"]
    assert len(forward) == 8
    assert all(stage.device_end_ns > stage.device_start_ns for stage in forward)
    summary = read_telemetry(result.telemetry_path)["summary"]
    assert summary["padded_tokens"] > summary["total_tokens"]
    assert result.peak_memory_gb > WEIGHTS / 1e9


def test_the_forecast_is_that_of_its_probe(measured, workload, tmp_path):
    assert measured.forecast.footprint.bytes_per_token == pytest.approx(BYTES_PER_TOKEN, rel=0.05)
    assert measured.forecast.footprint.fixed_bytes == pytest.approx(WEIGHTS, rel=0.5)
    fitting = torch.cuda.mem_get_info()[0] / BYTES_PER_TOKEN
    assert measured.largest_budget == pytest.approx(0.9 * fitting, rel=0.1)
    assert measured.predicted_failure(workload, measured.knobs.baseline) is None


def test_running_out_of_memory_is_named_and_the_next_run_succeeds(measured, workload, tmp_path):
    torch.cuda.set_per_process_memory_fraction(2e9 / torch.cuda.mem_get_info()[1])
    try:
        measured.forecast = None  # so that it is tried
        result = measured.run_trial(workload, measured.knobs.baseline.replace(batch_size=32), tmp_path)
        assert (result.reason, result.memory) == ("OOM", "device")
        assert measured.run_trial(workload, measured.knobs.baseline.replace(batch_size=1), tmp_path).succeeded
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_weights_that_are_loaded_by_the_warm_up_are_no_leak_of_the_first_trial(tmp_path, workload, measured):
    measured.warm_up(workload)
    for _ in range(2):
        assert measured.run_trial(workload, measured.knobs.baseline, tmp_path).cleanup["clean"] is True
