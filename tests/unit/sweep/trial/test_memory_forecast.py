# SPDX-License-Identifier: MIT
"""Measure the footprint of packs and forecast what does not fit, with simulated memory."""

import logging
from types import SimpleNamespace

import pytest
import torch

from tests.support.packed import TINY
from tests.support.sweeps import WORKLOAD
from virnuc_profiler import AsyncInferenceRunner
from virnuc_profiler.analysis.memory_footprint import MemoryFootprint
from virnuc_profiler.inference.esm2.model import PackedESM2
from virnuc_profiler.inference.esm2.random_weights import fill_randomly
from virnuc_profiler.sweep.machine.device_memory import DeviceMemory
from virnuc_profiler.sweep.trial import memory_forecast as memory_reading
from virnuc_profiler.sweep.trial.memory_forecast import (
    MemoryForecast,
    footprint_from_runs,
    forecast_memory,
    measure_footprint,
    typical_pack,
)
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration

CUDA = torch.device("cuda", 0)
FOOTPRINT = MemoryFootprint(bytes_per_token=200_000.0, fixed_bytes=1_340_000_000)


def forecast(available):
    return MemoryForecast(FOOTPRINT, lambda: available)


class SimulatedMemory:
    """Peaks that grow linearly, until the memory is full."""

    def __init__(self, bytes_per_token=1000, fixed=5_000_000, end=10**12):
        self.bytes_per_token = bytes_per_token
        self.fixed = fixed
        self.end = end
        self.peak = None
        self.log = []

    def run_packs(self, repeats):
        needed = self.fixed + self.bytes_per_token * 2048 * repeats
        self.log.append(repeats)
        if needed > self.end:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        self.peak = needed

    def reset_peak(self):
        self.log.append("reset")

    def peak_requested_bytes(self):
        return self.peak

    def release_cache(self):
        self.log.append("release")


def test_packs_are_measured_from_small_to_large_with_a_reset_before_each():
    memory = SimulatedMemory()
    assert footprint_from_runs(memory.run_packs, memory) == MemoryFootprint(1000.0, 5_000_000)
    assert memory.log == [entry for repeats in (1, 2, 4, 8) for entry in ("reset", repeats, "release")]


def test_the_two_largest_packs_that_fit_determine_the_footprint():
    memory = SimulatedMemory(end=5_000_000 + 1000 * 4096)
    assert footprint_from_runs(memory.run_packs, memory) == MemoryFootprint(1000.0, 5_000_000)
    assert memory.log[-2:] == [4, "release"]


def test_one_fitting_pack_gives_no_footprint_and_no_warning(caplog):
    memory = SimulatedMemory(end=5_000_000 + 1000 * 2048)
    with caplog.at_level(logging.WARNING):
        assert footprint_from_runs(memory.run_packs, memory) is None
    assert not caplog.records


@pytest.mark.parametrize("peak", [None, 0, 1000])
def test_unusable_peaks_give_no_footprint(peak):
    memory = SimulatedMemory()
    memory.peak_requested_bytes = lambda: peak
    assert footprint_from_runs(lambda repeats: None, memory) is None


def test_an_interrupt_is_not_swallowed():
    def stop(repeats):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        footprint_from_runs(stop, SimulatedMemory())


@pytest.mark.parametrize("repeats", [1, 8])
def test_a_typical_pack_runs_through_a_model(repeats):
    pack = typical_pack(repeats)
    assert (pack.statistics.tokens, len(pack.positions), pack.max_seqlen) == (2048 * repeats, 10 * repeats, 500)
    model = PackedESM2(TINY)
    fill_randomly(model, 0)
    (result,) = AsyncInferenceRunner(model, "cpu").run([pack])
    assert result.embeddings.shape == (10 * repeats, TINY.hidden_size)


def test_the_cpu_and_integrated_gpus_are_not_measured(monkeypatch):
    assert measure_footprint(None, torch.device("cpu")) is None
    assert forecast_memory(None, torch.device("cpu")) is None
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(is_integrated=1))
    assert measure_footprint(None, CUDA) is None


def test_a_device_runs_three_consecutive_packs_and_reads_the_requested_bytes(monkeypatch):
    packs = []
    stats = {}

    class Runner(AsyncInferenceRunner):
        def __init__(self, model, device, min_cosine):
            assert (model, device) == ("the model", CUDA)
            assert min_cosine is None  # that check would take memory of its own
            super().__init__(lambda tokens, *rest: torch.zeros(len(tokens), 4), "cpu")

        def run(self, batches):
            packs.append([batch.statistics.tokens for batch in batches])
            stats["requested_bytes.all.peak"] = 7_000 + 10 * packs[-1][0]
            return super().run(batches)

    monkeypatch.setattr(memory_reading, "AsyncInferenceRunner", Runner)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(is_integrated=0))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: stats.clear())
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: stats)
    monkeypatch.setattr(DeviceMemory, "release_cache", lambda memory: None)
    assert measure_footprint("the model", CUDA) == MemoryFootprint(10.0, 7_000)
    assert packs == [[tokens] * 3 for tokens in (2048, 4096, 8192, 16384)]


def test_an_allocator_without_request_counters_gives_allocated_bytes(monkeypatch):
    stats = {"requested_bytes.all.peak": 0, "allocated_bytes.all.peak": 512}
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: stats)
    assert DeviceMemory(CUDA).peak_requested_bytes() == 512
    assert DeviceMemory(torch.device("cpu")).peak_requested_bytes() is None


@pytest.mark.parametrize(("limit", "available"), [(None, 70), (50, 50), (90, 70)])
def test_available_bytes_are_reserved_plus_free_up_to_the_limit(monkeypatch, limit, available):
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (40, 1000))
    assert DeviceMemory(CUDA).available_bytes(limit) == available
    assert DeviceMemory(torch.device("cpu")).available_bytes(limit) is None


def test_after_a_cuda_error_nothing_is_available_or_predicted(monkeypatch):
    def fail(device):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "memory_reserved", fail)
    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
    broken = MemoryForecast(FOOTPRINT, DeviceMemory(CUDA).available_bytes)
    assert broken.predicted_failure(WORKLOAD, Configuration(token_budget=10**9)) is None
    assert str(broken) == "1.34 GB + 0.2 MB a token"


def test_a_configuration_that_does_not_fit_gets_a_complete_failed_result():
    configuration = Configuration(token_budget=100_000)
    result = forecast(10_000_000_000).predicted_failure(WORKLOAD, configuration)
    assert result.to_json() == {
        "status": "failed",
        "reason": "OOM",
        "message": (
            "predicted to need 21.34 GB of device memory for packs of 100,000 tokens (1.34 GB + 0.2 MB a token), "
            "but this process can only use 10.00 GB: --try-all runs it anyway; "
            "the largest budget that should fit is about 38,000"
        ),
        "outcome": "OOM",
        "evidence": {"predicted_peak_bytes": 21_340_000_000, "available_bytes": 10_000_000_000},
        "memory": "device",
        "predicted": True,
        "config": configuration.to_json(),
        "predicted_peak_memory_gb": 21.34,
        "available_memory_gb": 10.0,
        "peak_memory_gb": None,
        "truncated_sequences": None,
        "unknown_residues": None,
        "telemetry_path": None,
        "run_path": None,
        "cleanup": None,
    }


@pytest.mark.parametrize(
    ("configuration", "available"),
    [
        (BASELINE, 10_000_000_000),
        (Configuration(token_budget=48_000), 10_000_000_000),  # 10.94 GB: too much by less than the doubt
        (Configuration(token_budget=49_800), 10_000_000_000),  # 11.30 GB, if the packing leaves no hole
        (Configuration(token_budget=10**9, buffer_size=100), 10_000_000_000),  # never more than 21,500 tokens
        (Configuration(token_budget=10**9), None),
    ],
)
def test_a_configuration_that_may_fit_is_not_predicted_to_fail(configuration, available):
    assert forecast(available).predicted_failure(WORKLOAD, configuration) is None


@pytest.mark.parametrize(
    ("available", "line"),
    [
        (10_000_000_000, "1.34 GB + 0.2 MB a token; budgets up to about 38,000 tokens fit"),
        (1_490_000_000, "1.34 GB + 0.2 MB a token; budgets up to about 5 tokens fit"),
        (1_400_000_000, "1.34 GB + 0.2 MB a token; no token budget fits"),
        (10**18, "1.34 GB + 0.2 MB a token; budgets up to about 2,100,000,000 tokens fit"),
    ],
)
def test_the_forecast_is_one_line(available, line):
    assert str(forecast(available)) == line


def test_the_message_says_that_no_budget_fits():
    message = forecast(1_000_000_000).predicted_failure(WORKLOAD, BASELINE).message
    assert message.endswith("--try-all runs it anyway; no budget fits")
