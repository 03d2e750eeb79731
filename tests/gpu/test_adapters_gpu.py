# SPDX-License-Identifier: MIT
"""The adapters on a GPU, each where its program is installed."""

import pytest
import torch

from tests.support.adapters import check_contract, configuration_of, default_grid_size, write_workload
from virnuc_profiler import BatchProfiler
from virnuc_profiler.errors import LibraryUnavailable, UsageError
from virnuc_profiler.targets.contract import TargetOptions
from virnuc_profiler.targets.registry import TARGETS, make_target

pytestmark = pytest.mark.gpu

KNOBS = {
    "huggingface": {"batch_tokens": 600, "num_workers": 2},
    "fair-esm": {"batch_tokens": 600},
    "virnucpro": {"token_budget": 600, "buffer_size": 15, "num_workers": 1},
    "faesm": {"batch_tokens": 600},
    "esm-efficient": {"token_budget": 1100},
}
STAGES = {
    "fair-esm": {"fetch", "h2d", "forward", "d2h", "emit"},
    "virnucpro": {"fetch", "collate", "h2d", "forward", "pool", "d2h", "emit"},
}


@pytest.fixture(params=TARGETS)
def name(request):
    return request.param


@pytest.fixture
def target(name):
    try:
        made = make_target(name, TargetOptions("cuda:0", model="tiny", weights="random"))
    except (LibraryUnavailable, UsageError) as error:
        pytest.skip(str(error))
    yield made
    made.close()


class Batches:
    """Takes the vectors of a run, which must be finite and on the host."""

    def __init__(self):
        self.batches = []

    def __call__(self, ids, vectors):
        assert vectors.device.type == "cpu"
        assert torch.isfinite(vectors).all()
        self.batches.append(list(ids))


def test_every_batch_is_recorded_with_its_device_times(name, target, tmp_path):
    workload = write_workload(tmp_path)
    taken = target._emit = Batches()
    with BatchProfiler(device="cuda:0") as profiler:
        taken.counts = list(target.run(workload, configuration_of(target, **KNOBS[name]), profiler))
    taken.result = profiler.result
    stages = STAGES.get(name, {"fetch", "h2d", "forward", "pool", "d2h", "emit"})
    check_contract(target, taken, workload, stages)
    assert profiler.result.device.dropped_batches == 0
    for batch in profiler.result.batches:
        times = {stage.name: stage.device_ns for stage in batch.stages}
        assert all(times[stage] >= 0 for stage in stages - {"fetch", "collate", "emit"})
        assert times["forward"] > 0


def test_a_probe_takes_more_memory_for_more_tokens(target):
    configuration = configuration_of(target)
    peaks = []
    for tokens in (2048, 16384):
        target.probe(configuration, tokens)  # once for what is allocated only once
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        target.probe(configuration, tokens)
        peaks.append(torch.cuda.max_memory_allocated() - before)
    assert peaks[1] > 2 * peaks[0]


def test_the_default_grid_is_small(target):
    assert default_grid_size(target) <= 12
