# SPDX-License-Identifier: MIT
"""Faults of a real device: repeated out-of-memory errors, and an error that makes CUDA unusable in its process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.faulty_device import DeviceFault, DeviceModel
from tests.support.faulty_sequences import write_fasta
from virnuc_profiler.sweep.machine.device_memory import DeviceMemory
from virnuc_profiler.sweep.plan.request import DeviceName, Request
from virnuc_profiler.sweep.plan.workload import read_workload
from virnuc_profiler.sweep.trial import contamination
from virnuc_profiler.sweep.trial.single_gpu_benchmark import run_single_gpu_benchmark
from virnuc_profiler.sweep.worker.deadlines import Timeouts
from virnuc_profiler.sweep.worker.supervised_model import SupervisedModel
from virnuc_profiler.sweep.worker.supervisor import Supervisor
from virnuc_profiler.targets.knobs.configuration import Configuration

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parents[2]
ROUNDS = 20


def measure(fasta, folder, model, device):
    return run_single_gpu_benchmark(fasta, folder, model, device, 1, 1, 256, 100, cooldown_s="auto", warm_up=False)


def test_twenty_out_of_memory_errors_leak_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(contamination, "_recorded_leaks", [])
    device = torch.device("cuda", torch.cuda.current_device())
    fasta = write_fasta(tmp_path, 500)
    good, memory = DeviceModel(device), DeviceMemory(device)
    assert measure(fasta, tmp_path, good, device)["status"] == "success"  # libraries allocate their workspaces
    allocated, reserved = memory.allocated_bytes(), torch.cuda.memory_reserved(device)
    for round_number in range(ROUNDS):
        model = DeviceModel(device, DeviceFault.OUT_OF_MEMORY)
        failed = measure(fasta, tmp_path, model, device)
        del model
        assert (failed["reason"], failed["memory"]) == ("OOM", "device"), (round_number, failed["message"])
        assert failed["evidence"]["requested"]
        assert failed["cleanup"]["clean"], (round_number, failed["cleanup"])
        succeeded = measure(fasta, tmp_path, good, device)
        assert succeeded["status"] == "success", (round_number, succeeded.get("message"))
        assert memory.allocated_bytes() == allocated, round_number
        assert torch.cuda.memory_reserved(device) == reserved, round_number


def fail_an_assert(folder: str) -> None:
    """Print the result of a trial. Runs in its own process, as CUDA is unusable afterwards."""
    device = torch.device("cuda", torch.cuda.current_device())
    model = DeviceModel(device, DeviceFault.ASSERT)
    print("\n" + json.dumps(measure(write_fasta(Path(folder), 500), folder, model, device)), flush=True)


def test_a_device_side_assert_is_a_cuda_error_with_its_code(tmp_path):
    source = "import sys\nfrom tests.faults.test_gpu_faults import fail_an_assert\nfail_an_assert(sys.argv[1])\n"
    command = [sys.executable, "-c", source, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    # The exit code is not checked: PyTorch may abort while it tears down a lost device.
    assert done.stdout.strip(), done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["status"], result["reason"]) == ("failed", "cuda_error"), result["message"]
    assert result["evidence"]["code"] == 710
    assert result["cleanup"]["workers_left"] == []


def test_after_a_device_side_assert_the_next_trial_runs_in_a_new_process(tmp_path):
    fasta = write_fasta(tmp_path, 500)
    request = Request(tmp_path, DeviceName("cuda", 0), "m", fasta=fasta, cooldown_s=0.0)
    workload = read_workload(fasta, "file")
    with SupervisedModel(request, Supervisor(Timeouts(120.0, 60.0), "tests.support.faulty_device")) as model:

        def run(fault):
            return model.run_trial(workload, Configuration(1, fault, 256, 100), tmp_path, lambda _: None)

        before = run(DeviceFault.NONE)
        first_process = model._supervisor.pid
        failed = run(DeviceFault.ASSERT)
        after = run(DeviceFault.NONE)
        assert model._supervisor.pid != first_process
    assert (failed.status, failed.reason) == ("failed", "cuda_error"), failed.message
    assert failed.evidence["code"] == 710
    assert failed.evidence["process_replaced"]
    assert before.status == after.status == "success"
    assert after.evidence["batches"] == before.evidence["batches"]
