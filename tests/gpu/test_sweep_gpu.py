# SPDX-License-Identifier: MIT
"""Out of memory on a real device: classified and cleaned up, without effect on later trials."""

import pytest
import torch

from virnuc_profiler.sweep.machine.device_memory import DeviceMemory, limit_device_memory
from virnuc_profiler.sweep.session import Sweep
from virnuc_profiler.sweep.trial.measured_model import MeasuredModel, Request

pytestmark = pytest.mark.gpu

ROOM = 400e6
"""Bytes in addition to the weights: enough for a few thousand tokens of the 150M model, not for 100,000."""


@pytest.fixture(scope="module")
def device():
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture(scope="module")
def request_(device, tmp_path_factory):
    return Request(
        output_dir=tmp_path_factory.mktemp("sweep"),
        device=device,
        model="esm2_t30_150M_UR50D",
        num_sequences=500,
        weights="random",
        cooldown_s=0.0,
    )


@pytest.fixture
def limited(device, request_):
    """A loaded model in a process with little further device memory."""
    model = MeasuredModel(request_)
    workload = request_.workload()
    model.warm_up(workload)
    limit_device_memory(device, (torch.cuda.memory_reserved(device) + ROOM) / 1e9)
    yield model, workload
    torch.cuda.set_per_process_memory_fraction(1.0, device)


def test_out_of_memory_configurations_fail_and_the_others_are_measured(device, request_, limited):
    model, workload = limited
    memory = DeviceMemory(device)
    before = memory.allocated_bytes()
    grid = {"token_budget": [2048, 1_000_000, 4096], "buffer_size": [2000]}
    conditions = model.conditions()
    sweep = Sweep(request_.output_dir, model.run_trial, workload, workload, conditions, grid)
    document = sweep.run_step("packing")
    statuses = [(result.configuration.token_budget, result.status) for result in document.results]
    assert statuses == [(2048, "success"), (1_000_000, "failed"), (4096, "success")]
    failed = document.results[1]
    assert (failed.reason, failed.memory) == ("OOM", "device")
    assert failed.peak_memory_gb > before / 1e9
    assert document.best.configuration.token_budget != 1_000_000
    for result in document.results:
        assert result.cleanup["workers_left"] == []
        assert result.cleanup["device_memory_after"] <= 1.02 * before
    assert memory.allocated_bytes() <= 1.02 * before
