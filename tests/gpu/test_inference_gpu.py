# SPDX-License-Identifier: MIT
"""The whole pipeline on a GPU: the rates in telemetry match an independent clock."""

import json
import time

import pytest
import torch

from virnuc_profiler import generate_tuning_workload, load_esm2_model, run_single_gpu_benchmark
from virnuc_profiler.targets.knobs.configuration import Configuration

pytestmark = pytest.mark.gpu

SEQUENCES = 20_000


@pytest.fixture(scope="module")
def model():
    return load_esm2_model("650M", "cuda", weights="random")[0]


@pytest.fixture(scope="module")
def workload(tmp_path_factory):
    return generate_tuning_workload(tmp_path_factory.mktemp("workload"), num_sequences=SEQUENCES)


def tokens_of(fasta):
    """Count tokens independently of the package: BOS and EOS included, truncated to 1,022 residues."""
    sequences = ["".join(record.split("\n")[1:]) for record in fasta.read_text().split(">")[1:]]
    return sum(min(len(sequence), 1022) + 2 for sequence in sequences)


def test_reported_rates_equal_the_wall_clock(model, workload, tmp_path):
    run_single_gpu_benchmark(workload, tmp_path / "warm", model, "cuda", cooldown_s=0)
    ends = []
    began = time.perf_counter()
    result = run_single_gpu_benchmark(
        workload, tmp_path, model, "cuda", cooldown_s=0, on_progress=lambda done: ends.append(time.perf_counter())
    )
    outside_s = ends[-1] - began
    assert result["status"] == "success", result
    summary = json.loads((tmp_path / f"telemetry_{Configuration().run_id}.json").read_text())["summary"]
    assert summary["total_sequences"] == SEQUENCES
    assert summary["total_tokens"] == tokens_of(workload)
    # From the call to the last result; only indexing the file is not part of the measured run.
    assert result["tokens_per_sec"] == pytest.approx(summary["total_tokens"] / outside_s, rel=0.01)
    assert 0 < result["packing_efficiency"] <= 1
    assert result["gpu_util"] is None or 0 <= result["gpu_util"] <= 100  # None for a run of less than a second
    assert result["peak_memory_gb"] > 1


def test_out_of_memory_is_an_outcome_and_leaks_nothing(model, workload, tmp_path):
    held = torch.cuda.memory_allocated()
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (256 << 20)) / total)
        large = run_single_gpu_benchmark(workload, tmp_path, model, "cuda", token_budget=65_536, cooldown_s=0)
        small = run_single_gpu_benchmark(workload, tmp_path, model, "cuda", token_budget=2048, cooldown_s=0)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert (large["status"], large["reason"]) == ("failed", "OOM")
    assert large["peak_memory_gb"] > 0
    assert small["status"] == "success", small
    assert torch.cuda.memory_allocated() <= held * 1.02
