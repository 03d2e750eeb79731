# SPDX-License-Identifier: MIT
"""Predicted device memory matches that of a run, and configurations predicted to fail do fail."""

import gc
import math
from dataclasses import replace

import pytest
import torch

from virnuc_profiler.analysis.memory_footprint import (
    TOLERANCE_FACTOR,
    largest_fitting_budget,
    predict_peak_bytes,
)
from virnuc_profiler.sweep.machine.device_memory import BYTES_PER_GB, DeviceMemory
from virnuc_profiler.sweep.trial.measured_model import MeasuredModel, Request
from virnuc_profiler.targets.knobs.configuration import Configuration

pytestmark = pytest.mark.gpu

CAP_GB = 2.5
"""Memory limit for the 650M model: 1.3 GB of weights and some tens of thousands of tokens."""


@pytest.fixture(scope="module")
def device():
    return torch.device("cuda", torch.cuda.current_device())


def request_for(model, device, folder, **options):
    return Request(
        output_dir=folder, device=device, model=model, num_sequences=2000, weights="random", cooldown_s=0.0, **options
    )


@pytest.fixture
def capped(device, tmp_path):
    """Limit the device memory of this process until the test ends; return the limit."""
    gc.collect()  # frees the models of earlier tests
    torch.cuda.empty_cache()
    yield request_for("esm2_t33_650M_UR50D", device, tmp_path, device_memory_gb=CAP_GB)
    torch.cuda.set_per_process_memory_fraction(1.0, device)


@pytest.mark.parametrize("model_name", ["esm2_t6_8M_UR50D", "esm2_t33_650M_UR50D"])
def test_the_prediction_is_within_a_tenth_of_the_measured_peak(device, tmp_path, model_name):
    request = request_for(model_name, device, tmp_path)
    model = MeasuredModel(request)
    assert model.forecast is not None
    footprint = model.forecast.footprint
    workload = request.workload()
    model.warm_up(workload)
    for token_budget in (8_192, 32_768):
        configuration = Configuration(token_budget=token_budget)
        result = model.run_trial(workload, configuration, tmp_path)
        assert result.status == "success", result
        predicted_gb = predict_peak_bytes(footprint, token_budget) / BYTES_PER_GB
        print(f"{model_name}, {token_budget:,}: {predicted_gb:.3f} GB predicted, {result.peak_memory_gb:.3f} GB")
        assert predicted_gb == pytest.approx(result.peak_memory_gb, rel=0.1)


def test_measuring_the_footprint_leaks_nothing(device, tmp_path):
    model = MeasuredModel(request_for("esm2_t6_8M_UR50D", device, tmp_path))
    parameters = model.description["parameters"]
    held = DeviceMemory(device).allocated_bytes()
    again = MeasuredModel(request_for("esm2_t6_8M_UR50D", device, tmp_path))
    assert again.forecast is not None
    grown = DeviceMemory(device).allocated_bytes() - held
    assert grown < 2.2 * parameters + 2**20  # fp16 weights, rounded up to blocks


def test_predicted_failures_fail_and_fitting_configurations_run(device, capped, tmp_path):
    model = MeasuredModel(capped)
    assert model.forecast is not None
    footprint, available = model.forecast.footprint, model.forecast.available_bytes()
    assert available == CAP_GB * BYTES_PER_GB
    workload = capped.workload()
    model.warm_up(workload)

    fitting = Configuration(token_budget=largest_fitting_budget(footprint, available))
    assert fitting.token_budget > 10_000
    result = model.run_trial(workload, fitting, tmp_path)
    assert result.status == "success", result

    tokens = (available / TOLERANCE_FACTOR - footprint.fixed_bytes) / footprint.bytes_per_token
    too_large = Configuration(token_budget=math.ceil(tokens) + workload.longest_tokens)
    refused = model.run_trial(workload, too_large, tmp_path)
    assert (refused.reason, refused.predicted, refused.peak_memory_gb) == ("OOM", True, None)
    assert refused.predicted_peak_memory_gb > refused.available_memory_gb

    del model  # two do not fit under the cap
    gc.collect()
    told_to = MeasuredModel(replace(capped, try_all=True))
    tried = told_to.run_trial(workload, too_large, tmp_path)
    assert (tried.status, tried.reason, tried.memory) == ("failed", "OOM", "device")
    assert tried.peak_memory_gb > 0
    assert not tried.predicted
    assert told_to.run_trial(workload, Configuration(), tmp_path).succeeded
