# SPDX-License-Identifier: MIT
"""Captured kernels of real loops whose busy share, launches and stages are known."""

import json
import subprocess
import sys
from itertools import cycle

import pytest
import torch

from virnuc_profiler import AsyncInferenceRunner, BatchProfiler, RunResult, load_esm2_model
from virnuc_profiler.sweep.kernels.kernel_pass import captured_activity

pytestmark = pytest.mark.gpu

BATCHES = 60
CAPTURED = 20


def measured(loop, batches=BATCHES):
    for _ in range(2):
        profiler = BatchProfiler(device="cuda", sample_gpu=False)
        with profiler:
            iterator = loop(profiler)
            for _ in range(batches):
                next(iterator)
            iterator.close()
    return profiler.result


def capture(loop):
    run = measured(loop)
    found = captured_activity(run, loop, num_batches=CAPTURED, device="cuda")
    print(json.dumps(found.to_json(), indent=1))
    return found


def matmul_loop(size, launches, wait):
    """Batches of matrix products, whose device is idle for most of the time (`wait`) or never."""
    source = torch.randn(size, size, device="cuda", dtype=torch.bfloat16)
    target = torch.empty_like(source)

    def loop(profiler):
        for _ in profiler.batches(cycle([None])):
            with profiler.stage("forward"):
                for _ in range(launches):
                    torch.mm(source, source, out=target)
                    if wait:
                        torch.cuda.synchronize()
            with profiler.stage("d2h"):
                target[:1].cpu()
            yield None

    return loop


def test_a_loop_that_waits_for_each_of_its_small_kernels_is_idle_inside_its_stage():
    found = capture(matmul_loop(256, 30, wait=True))
    assert found.batches == CAPTURED
    stages = {one.stage: one for one in found.stages}
    assert stages["forward"].launches >= 30 * CAPTURED
    assert stages["d2h"].operations >= CAPTURED
    assert found.clock_error_ns is not None
    assert found.clock_error_ns < 100_000
    assert found.busy_share < 0.6
    assert found.idle_in_stages_ns > found.idle_between_ns
    assert found.busy_ns + found.idle_in_stages_ns + found.idle_between_ns == found.window_ns
    assert not [one for one in found.stages if one.stage is None and one.operations > CAPTURED]


def test_a_loop_of_large_kernels_is_busy():
    found = capture(matmul_loop(4096, 10, wait=False))
    assert found.busy_share_at_own_pace > 0.9
    stages = {one.stage: one for one in found.stages}
    (largest, *_) = [one for one in found.kernels if one.stage == "forward"]
    assert largest.count == 10 * CAPTURED
    assert stages["forward"].total_ns > 0.9 * found.busy_ns
    assert found.slowdown < 1.2


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_our_runner_replays_graphs_with_one_launch(cuda_graphs):
    from tests.gpu.test_diagnosis_gpu import packs

    model, _ = load_esm2_model("8M", "cuda", precision="bf16", weights="random", cuda_graphs=cuda_graphs)
    batches = packs(30)
    runner = AsyncInferenceRunner(model, "cuda")
    list(runner.run(batches))
    list(runner.run(batches))  # records the graph of each size
    found = capture(lambda profiler: AsyncInferenceRunner(model, "cuda", profiler=profiler).run(cycle(batches)))
    stages = {one.stage: one for one in found.stages}
    assert {"h2d", "forward", "d2h"} <= set(stages)
    assert stages["h2d"].operations >= CAPTURED
    assert stages["d2h"].operations >= CAPTURED
    per_batch = stages["forward"].launches / CAPTURED
    assert per_batch < 10 if cuda_graphs else per_batch > 20
    assert stages["forward"].operations / CAPTURED > 20
    unstaged = sum(one.total_ns for one in found.stages if one.stage is None)
    assert unstaged < 0.05 * sum(one.total_ns for one in found.stages)


def test_profile_saves_and_shows_the_kernels(tmp_path):
    """Through the command, in a process of its own: the capture comes after the run, whose own figures it leaves."""
    command = [
        sys.executable, "-m", "virnuc_profiler", "profile", "--model", "8M", "--weights", "random",
        "--num-sequences", "2000", "--num-workers", "2", "--cooldown", "0", "--kernels", "--verbose",
        "--output-dir", str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert "Kernels (CUPTI)" in done.stdout
    assert "GPU busy at the loop's own pace: " in done.stdout
    (path,) = tmp_path.glob("run_*.json")
    kernels = RunResult.load(path).kernels
    assert kernels.batches == 20
    assert 0.0 < kernels.busy_share_at_own_pace <= 1.0
    assert kernels.slowdown > 0.3  # the batches take 10 ms in all
