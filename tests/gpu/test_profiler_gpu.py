# SPDX-License-Identifier: MIT
"""The profiler on a real device, against PyTorch's own events and the wall clock."""

import gc
import os
import subprocess
import sys
import time

import pytest
import torch

from virnuc_profiler import BatchProfiler, _core

pytestmark = pytest.mark.gpu


@pytest.fixture
def work():
    matrix = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)

    def multiply(times):
        for _ in range(times):
            matrix @ matrix

    multiply(10)
    torch.cuda.synchronize()
    return multiply


def test_device_intervals_agree_with_pytorch_events(work):
    pairs = []
    with BatchProfiler(device="cuda", stages=("forward",)) as profiler:
        work(500)  # a full queue, so that no launch gap lies between our events and PyTorch's
        for _ in profiler.batches(range(50), stage=None):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            with profiler.stage("forward"):
                start.record()
                work(10)
                end.record()
            pairs.append((start, end))
    torch.cuda.synchronize()
    run = profiler.result
    assert run.device.timed
    assert not run.device.reason
    assert run.device.dropped_batches == 0
    for batch, (start, end) in zip(run.batches, pairs, strict=True):
        expected_ns = start.elapsed_time(end) * 1e6
        assert batch.stages[0].device_ns == pytest.approx(expected_ns, rel=0.02, abs=50_000)


def test_device_times_are_on_the_host_clock(work):
    with BatchProfiler(device="cuda", stages=("forward",)) as profiler:
        for _ in profiler.batches(range(20), stage=None):
            with profiler.stage("forward"):
                work(5)
            torch.cuda.synchronize()
    run = profiler.result
    slack_ns = run.device.alignment_uncertainty_ns + 20_000
    assert run.device.alignment_uncertainty_ns < 100_000
    for batch in run.batches:
        (stage,) = batch.stages
        assert batch.host_start_ns - slack_ns <= stage.device_start_ns <= stage.device_end_ns
        assert stage.device_end_ns <= batch.host_end_ns + slack_ns


def test_a_run_lasts_until_its_device_work_ends(work):
    began = time.monotonic_ns()
    with BatchProfiler(device="cuda", stages=("forward",)) as profiler:
        for _ in profiler.batches(range(5), stage=None):
            with profiler.stage("forward"):
                work(200)
    torch.cuda.synchronize()
    outside_ns = time.monotonic_ns() - began
    last_end = max(stage.device_end_ns for batch in profiler.result.batches for stage in batch.stages)
    assert profiler.result.host_end_ns >= last_end
    assert profiler.result.elapsed_s * 1e9 > 0.8 * sum(b.stages[0].device_ns for b in profiler.result.batches)
    assert profiler.result.elapsed_s * 1e9 <= outside_ns * 1.01


def test_the_gpu_is_sampled(work):
    with BatchProfiler(device="cuda", stages=("forward",)) as profiler:
        for _ in profiler.batches(range(30), stage=None):
            with profiler.stage("forward"):
                work(200)
            torch.cuda.synchronize()
    gpu = profiler.result.gpu
    assert gpu is not None, profiler.result.device.sampling_reason
    assert gpu.uuid.startswith(("GPU-", "MIG-"))
    assert max(reading.utilization_percent or 0 for reading in gpu.fast) > 50
    assert all(reading.power_mw is None or reading.power_mw > 10_000 for reading in gpu.fast)
    assert not any(tier.stalled for tier in gpu.tiers)


def test_side_streams_are_timed_separately(work):
    side = torch.cuda.Stream()
    with BatchProfiler(device="cuda", stages=("forward", "d2h")) as profiler:
        for _ in profiler.batches(range(10), stage=None):
            batch = profiler.current_batch
            batch.mark("forward")
            work(20)
            batch.mark("d2h", side.cuda_stream)
            with torch.cuda.stream(side):
                torch.empty(1 << 20, device="cuda").cpu()
            batch.end_stage()
    torch.cuda.synchronize()
    for batch in profiler.result.batches:
        assert [stage.name for stage in batch.stages] == ["forward", "d2h"]
        assert all(stage.device_ns is not None and stage.device_ns >= 0 for stage in batch.stages)


def test_only_marks_during_a_graph_capture_lack_device_times(work):
    matrix = torch.randn(1024, 1024, device="cuda", dtype=torch.bfloat16)
    with BatchProfiler(device="cuda", stages=("forward",)) as profiler:
        with profiler.begin_batch() as batch:
            batch.mark("forward")
            work(5)
        graph = torch.cuda.CUDAGraph()
        gc.collect()  # frees graphs of other tests, whose destruction would invalidate the capture
        with profiler.begin_batch() as batch, torch.cuda.graph(graph):
            batch.mark("forward", torch.cuda.current_stream().cuda_stream)
            time.sleep(0.05)  # the collector polls events, and must not query those of the graph
            matrix @ matrix
            batch.end_stage()
        with profiler.begin_batch() as batch:
            batch.mark("forward")
            graph.replay()
    run = profiler.result
    assert run.device.reason == ""
    assert [batch.device_times_dropped for batch in run.batches] == [False, True, False]
    assert [batch.stages[0].device_ns is not None for batch in run.batches] == [True, False, True]


def test_the_clocks_are_aligned_and_their_drift_is_measured(work):
    with BatchProfiler(device="cuda", stages=("forward",)) as profiler:
        for _ in profiler.batches(range(70), stage=None):
            with profiler.stage("forward"):
                work(100)
            time.sleep(0.1)  # long enough for several comparisons
    device = profiler.result.device
    assert abs(device.clock_drift_ppm) < 200
    assert device.alignment_residual_ns <= 2 * device.alignment_uncertainty_ns + 5_000


def test_a_device_selected_by_uuid_is_the_one_sampled():
    uuid = _core.cuda_devices()[0].uuid
    script = (
        "import sys, time\n"
        "from virnuc_profiler import BatchProfiler\n"
        "with BatchProfiler(device='cuda:0') as profiler:\n"
        "    time.sleep(0.3)\n"
        "print(profiler.result.device.uuid, len(profiler.result.gpu.fast))\n"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": uuid}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    seen, readings = done.stdout.split()
    assert seen == uuid
    assert int(readings) >= 2


def test_the_cost_of_profiling_is_measured(work):
    with BatchProfiler(device="cuda", stages=("forward",)) as profiler:
        for _ in profiler.batches(range(100), stage=None):
            with profiler.stage("forward"):
                work(5)
    cost = profiler.result.cost
    assert cost.calls >= 400
    assert 100 < cost.mean_call_ns < 50_000
    assert cost.collector_cpu_ns > 0
    assert cost.sampling_cpu_ns > 0
