# SPDX-License-Identifier: MIT
"""A sweep over precisions on a real device: one model at a time, and each forecast and result of its own precision."""

import gc

import pytest
import torch

from virnuc_profiler.sweep.machine.device_memory import DeviceMemory
from virnuc_profiler.sweep.session import Sweep
from virnuc_profiler.sweep.trial.measured_model import MeasuredModel, Request
from virnuc_profiler.targets.knobs.configuration import BASELINE

pytestmark = pytest.mark.gpu

GRID = {"token_budget": (4096,), "buffer_size": (500,), "precision": ("fp32", "bf16")}


def test_each_precision_is_measured_with_its_own_model_and_the_other_is_released(tmp_path):
    gc.collect()
    torch.cuda.empty_cache()
    device = torch.device("cuda", torch.cuda.current_device())
    memory = DeviceMemory(device)
    before = memory.allocated_bytes()
    request = Request(
        tmp_path, device, "esm2_t30_150M_UR50D", num_sequences=200, weights="random", cooldown_s=0.0,
        model_knobs={"precision": "fp32"}, varied=("precision",),
    )  # fmt: skip
    workload = request.workload()
    with MeasuredModel(request) as model:
        model.warm_up(workload)
        in_fp32 = memory.allocated_bytes() - before
        sweep = Sweep(tmp_path, model.run_trial, workload, workload, model.conditions(), GRID)
        document = sweep.run_step("packing")
        assert memory.allocated_bytes() - before < 0.75 * in_fp32  # bf16 weights, and no fp32 ones beside them
    assert document.baseline.configuration == BASELINE.replace(precision="fp32")
    assert [result.succeeded for result in document.results] == [True, True]
    assert [result.model_reloaded for result in document.results] == [False, True]
    fp32, bf16 = document.results
    assert bf16.peak_memory_gb < fp32.peak_memory_gb
    assert bf16.model["bytes_per_token"] < fp32.model["bytes_per_token"]
    assert document.conditions.model["precision"] == "varied"
