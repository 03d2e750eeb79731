# SPDX-License-Identifier: MIT
"""Faults of a real device: memory that runs out again and again, and an error that ends CUDA in its process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.faulty_sequences import write_fasta
from virnuc_profiler.sweep import contamination
from virnuc_profiler.sweep.device_memory import DeviceMemory
from virnuc_profiler.sweep.trial import run_single_gpu_benchmark

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parents[2]
ROUNDS = 20


class DeviceModel:
    """Takes some memory for each batch, and in the middle of its n-th more than there is."""

    def __init__(self, device, fail_at=None):
        self.device, self.fail_at, self.calls = device, fail_at, 0
        self.weights = torch.ones(4, 4, device=device)

    def __call__(self, tokens, cu_seqlens, max_seqlen, host_cu_seqlens=None):
        self.calls += 1
        held = [torch.ones(len(tokens), 4, device=self.device) for _ in range(8)]
        if self.calls == self.fail_at:
            total = torch.cuda.get_device_properties(self.device).total_memory
            held.extend(torch.empty(total // 4, dtype=torch.uint8, device=self.device) for _ in range(8))
        return held[0] @ self.weights


def measure(fasta, folder, model, device):
    return run_single_gpu_benchmark(fasta, folder, model, device, 1, 1, 256, 100, cooldown_s="auto")


def test_twenty_times_out_of_memory_leave_no_trace(tmp_path, monkeypatch):
    monkeypatch.setattr(contamination, "_left_behind", [])
    device = torch.device("cuda", torch.cuda.current_device())
    fasta = write_fasta(tmp_path, 500)
    good, memory = DeviceModel(device), DeviceMemory(device)
    assert measure(fasta, tmp_path, good, device)["status"] == "success"  # libraries take their work spaces
    allocated, reserved = memory.allocated_bytes(), torch.cuda.memory_reserved(device)
    for round_number in range(ROUNDS):
        model = DeviceModel(device, fail_at=3)
        failed = measure(fasta, tmp_path, model, device)
        del model
        assert (failed["reason"], failed["memory"]) == ("OOM", "device"), (round_number, failed["message"])
        assert failed["evidence"]["requested"]
        assert failed["cleanup"]["clean"], (round_number, failed["cleanup"])
        succeeded = measure(fasta, tmp_path, good, device)
        assert succeeded["status"] == "success", (round_number, succeeded.get("message"))
        assert memory.allocated_bytes() == allocated, round_number
        assert torch.cuda.memory_reserved(device) == reserved, round_number


def fail_an_assert(folder: str) -> dict:
    """Runs in a process of its own, whose CUDA is lost afterwards."""
    device = torch.device("cuda", torch.cuda.current_device())

    class Model(DeviceModel):
        def __call__(self, tokens, *lengths):
            table = torch.zeros(4, device=device)
            table[torch.full((1,), 99, device=device)].sum()  # behind the end of the table
            return super().__call__(tokens, *lengths)

    return measure(write_fasta(Path(folder), 500), folder, Model(device), device)


def test_a_device_side_assert_is_a_cuda_error_with_its_code(tmp_path):
    source = (
        "import json, sys\nfrom tests.faults.test_gpu_faults import fail_an_assert\n"
        "print('\\n' + json.dumps(fail_an_assert(sys.argv[1])))\n"
    )
    command = [sys.executable, "-c", source, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["status"], result["reason"]) == ("failed", "cuda_error"), result["message"]
    assert result["evidence"]["code"] == 710
    assert result["cleanup"]["workers_left"] == []
