# SPDX-License-Identifier: MIT
"""NVML disappears in the middle of a trial, through the stand-in driver."""

import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.faulty_sequences import write_fasta
from tests.support.standin import NvmlControl, Standins
from virnuc_profiler.capture.profiler import BatchProfiler
from virnuc_profiler.sweep.trial import trial_run as trial
from virnuc_profiler.sweep.trial.single_gpu_benchmark import run_single_gpu_benchmark

pytestmark = pytest.mark.slow  # starts whole programs


class VanishingModel:
    """A slow model that makes NVML fail before its n-th call."""

    def __init__(self, at_call: int | None, throttled: int = 4) -> None:
        self.nvml = NvmlControl()
        self.nvml.set("throttle_reasons", throttled)
        self.at_call, self.calls = at_call, 0

    def __call__(self, tokens: Any, cu_seqlens: Any, max_seqlen: int) -> torch.Tensor:
        self.calls += 1
        if self.calls == self.at_call:
            self.nvml.vanish()
        time.sleep(0.05)
        return torch.ones(len(tokens), 4)


def run(at_call: int | None, throttled: int = 4) -> dict[str, Any]:
    trial.BatchProfiler = lambda device, **options: BatchProfiler(device=0, **options)  # type: ignore[assignment, misc]
    with tempfile.TemporaryDirectory() as folder:
        fasta = write_fasta(Path(folder), 200)
        return run_single_gpu_benchmark(
            fasta, folder, VanishingModel(at_call, throttled), "cpu", 0, 1, 128, 100, cooldown_s=0.0, warm_up=False
        )


def test_the_trial_succeeds_with_unknown_utilization(standins: Standins) -> None:
    result = standins.call(run, 10)
    assert result["status"] == "success"
    assert result["gpu_util"] is None
    assert 0 < result["gpu_util_coverage"]["share"] < 0.5
    assert 0 < result["gpu_sampling_lost_after_sec"] < result["elapsed_sec"]
    assert result["sequences_per_sec"] > 0


def test_with_nvml_to_the_end_utilization_is_known(standins: Standins) -> None:
    result = standins.call(run, None)
    assert (result["gpu_util"], result["gpu_sampling_lost_after_sec"]) == (73, None)
    assert result["gpu_util_coverage"]["share"] > 0.5
    assert (result["outcome"], result["evidence"]["held_down_share"]) == ("ok", 0)  # 4 is the power cap


def test_thermal_throttling_flags_the_trial_and_keeps_its_figures(standins: Standins) -> None:
    result = standins.call(run, None, 0x20 | 0x4)
    assert (result["status"], result["outcome"]) == ("success", "throttled")
    assert result["evidence"]["reasons"] == {"sw_thermal_slowdown": 1}
    assert result["sequences_per_sec"] > 0
