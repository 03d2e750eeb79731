# SPDX-License-Identifier: MIT
"""Measuring what packs take, and telling what does not fit, with memory that is only pretended."""

import logging
from types import SimpleNamespace

import pytest
import torch

from tests.support.packed import TINY
from tests.support.sweeps import WORKLOAD
from virnuc_profiler import AsyncInferenceRunner
from virnuc_profiler.analysis.memory_footprint import MemoryFootprint
from virnuc_profiler.inference.esm2.checkpoint import fill_randomly
from virnuc_profiler.inference.esm2.model import PackedESM2
from virnuc_profiler.sweep.machine.device_memory import DeviceMemory
from virnuc_profiler.sweep.plan.configuration import BASELINE, Configuration
from virnuc_profiler.sweep.trial import memory_forecast as memory_reading
from virnuc_profiler.sweep.trial.memory_forecast import (
    MemoryForecast,
    footprint_of,
    forecast_memory,
    measure_footprint,
    typical_pack,
)

CUDA = torch.device("cuda", 0)
FOOTPRINT = MemoryFootprint(bytes_per_token=200_000.0, fixed_bytes=1_340_000_000)


def forecast(available):
    return MemoryForecast(FOOTPRINT, lambda: available)


class PretendedMemory:
    """Peaks along a line, until the memory ends."""

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


def test_packs_are_measured_from_small_to_large_each_from_a_fresh_start():
    memory = PretendedMemory()
    assert footprint_of(memory.run_packs, memory) == MemoryFootprint(1000.0, 5_000_000)
    assert memory.log == [entry for repeats in (1, 2, 4, 8) for entry in ("reset", repeats, "release")]


def test_the_largest_packs_that_fit_make_the_line():
    memory = PretendedMemory(end=5_000_000 + 1000 * 4096)
    assert footprint_of(memory.run_packs, memory) == MemoryFootprint(1000.0, 5_000_000)
    assert memory.log[-2:] == [4, "release"]


def test_nothing_is_known_where_only_one_pack_fits_and_nobody_is_alarmed(caplog):
    memory = PretendedMemory(end=5_000_000 + 1000 * 2048)
    with caplog.at_level(logging.WARNING):
        assert footprint_of(memory.run_packs, memory) is None
    assert not caplog.records


@pytest.mark.parametrize("peak", [None, 0, 1000])
def test_counters_that_do_not_count_tell_nothing(peak):
    memory = PretendedMemory()
    memory.peak_requested_bytes = lambda: peak
    assert footprint_of(lambda repeats: None, memory) is None


def test_a_stop_is_not_swallowed():
    def stop(repeats):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        footprint_of(stop, PretendedMemory())


@pytest.mark.parametrize("repeats", [1, 8])
def test_a_typical_pack_goes_through_a_model(repeats):
    pack = typical_pack(repeats)
    assert (pack.statistics.tokens, len(pack.positions), pack.max_seqlen) == (2048 * repeats, 10 * repeats, 500)
    model = PackedESM2(TINY)
    fill_randomly(model, 0)
    (result,) = AsyncInferenceRunner(model, "cpu").run([pack])
    assert result.embeddings.shape == (10 * repeats, TINY.embed_dim)


def test_nothing_is_measured_on_a_cpu_or_where_the_gpu_has_no_memory_of_its_own(monkeypatch):
    assert measure_footprint(None, torch.device("cpu")) is None
    assert forecast_memory(None, torch.device("cpu")) is None
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(is_integrated=1))
    assert measure_footprint(None, CUDA) is None


def test_on_a_device_three_packs_in_a_row_are_run_and_their_requests_read(monkeypatch):
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


def test_an_allocator_that_counts_no_requests_is_asked_what_it_allocated(monkeypatch):
    stats = {"requested_bytes.all.peak": 0, "allocated_bytes.all.peak": 512}
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: stats)
    assert DeviceMemory(CUDA).peak_requested_bytes() == 512
    assert DeviceMemory(torch.device("cpu")).peak_requested_bytes() is None


@pytest.mark.parametrize(("limit", "available"), [(None, 70), (50, 50), (90, 70)])
def test_a_process_can_have_what_it_holds_and_what_is_free_up_to_its_limit(monkeypatch, limit, available):
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (40, 1000))
    assert DeviceMemory(CUDA).available_bytes(limit) == available
    assert DeviceMemory(torch.device("cpu")).available_bytes(limit) is None


def test_once_cuda_has_failed_nothing_is_available_and_nothing_predicted(monkeypatch):
    def fail(device):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "memory_reserved", fail)
    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
    broken = MemoryForecast(FOOTPRINT, DeviceMemory(CUDA).available_bytes)
    assert broken.predicted_failure(WORKLOAD, Configuration(token_budget=10**9)) is None
    assert str(broken) == "1.34 GB + 0.2 MB a token"


def test_what_surely_does_not_fit_is_a_result_with_all_that_is_known():
    configuration = Configuration(token_budget=100_000)
    result = forecast(10_000_000_000).predicted_failure(WORKLOAD, configuration)
    assert result.to_json() == {
        "status": "failed",
        "reason": "OOM",
        "message": (
            "predicted to need 21.34 GB of device memory for packs of 100,000 tokens (1.34 GB + 0.2 MB a token), "
            "of 10.00 GB that this process can have: --try-all runs it anyway; "
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
def test_what_may_fit_is_not_predicted(configuration, available):
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
def test_one_line_says_what_fits(available, line):
    assert str(forecast(available)) == line


def test_where_no_budget_fits_the_message_names_none():
    message = forecast(1_000_000_000).predicted_failure(WORKLOAD, BASELINE).message
    assert message.endswith("--try-all runs it anyway; no budget fits")
