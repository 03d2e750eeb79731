# SPDX-License-Identifier: MIT
"""The diagnosis names bottlenecks injected into runs of ESM-2 650M on a real GPU, and finds none in a healthy run.

Every verdict is printed with its evidence; run with ``-rP`` (or look at a failure's output) to read them.
"""

import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import esm
import numpy as np
import pytest
import torch

from tests.support.packed import proteins
from virnuc_profiler import (
    AsyncInferenceRunner,
    BatchProfiler,
    DeviceCeiling,
    ModelShape,
    SequenceDataset,
    VarlenCollator,
    create_async_dataloader,
    diagnose_run,
    generate_tuning_workload,
    load_esm2_model,
    render_diagnosis,
)
from virnuc_profiler.capture.calibration import TorchMeter, ceiling_from_samples

pytestmark = pytest.mark.gpu

SHAPE = ModelShape(33, 1280)
BUDGET = 4096
SLOW_S = 0.05
"""Three times the device time of a batch."""


@pytest.fixture(scope="module")
def model():
    model, _ = load_esm2_model("650M", "cuda", precision="bf16", weights="random")
    list(AsyncInferenceRunner(model, "cuda").run(packs(10)))
    return model


@pytest.fixture(scope="module")
def ceiling(model):
    found = ceiling_from_samples("bf16", TorchMeter().matmul_rates("bf16", 3.0))
    print(found)
    assert found.sm_clock_mhz is not None
    return found


def packs(count, budget=BUDGET, pin_memory=True):
    """Return at least `count` packs in pinned memory."""
    longest = min(500, budget - 2)
    lengths = np.random.default_rng(0).integers(min(50, longest), longest + 1, size=int(1.1 * count * budget))
    lengths = lengths[: int(np.searchsorted(lengths.cumsum(), 1.05 * count * budget)) + 1]
    collator = VarlenCollator(
        esm.data.Alphabet.from_architecture("ESM-1b").get_batch_converter(), max_tokens_per_batch=budget
    )
    collator.pin_memory = pin_memory
    pairs = [(f"p{number}", sequence) for number, sequence in enumerate(proteins(lengths))]
    return [*collator(pairs), *collator.flush()][:count]


def recorded(model, batches):
    """Return batches whose CUDA graphs are recorded, so that a run does not stop for it."""
    for _ in range(2):  # a graph is recorded when its size comes for the second time
        list(AsyncInferenceRunner(model, "cuda").run(batches))
    return batches


def ready(batches, pause_s=0.0, collating_s=0.0, before=lambda: None):
    """Yield ready batches, after a pause that imitates reading or collating."""
    for batch in batches:
        before()
        time.sleep(pause_s)
        start_ns = time.monotonic_ns()
        if collating_s:
            time.sleep(collating_s)
        yield replace(batch, collate_start_ns=start_ns, collate_end_ns=time.monotonic_ns())


def profiled(model, loader, consume=lambda: None, in_flight=2):
    profiler = BatchProfiler(device="cuda")
    runner = AsyncInferenceRunner(model, "cuda", profiler=profiler, in_flight=in_flight)
    with profiler:
        for _ in runner.run(loader):
            consume()
    return profiler.result


def verdict(run, ceiling):
    found = diagnose_run(
        run,
        shape=SHAPE,
        ceiling=DeviceCeiling(ceiling.flops_per_second, ceiling.sm_clock_mhz),
    )
    print(f"\n{run.total_tokens / run.elapsed_s:,.0f} tokens/s over the whole run")
    print(render_diagnosis(found), found.lost_time, sep="\n")
    return found


def test_a_healthy_run(model, ceiling):
    found = verdict(profiled(model, ready(recorded(model, packs(150)))), ceiling)
    assert found.healthy, found.sentence
    assert found.bottleneck in ("device", "device_arithmetic")
    assert found.stage_share > 0.95
    assert 0.2 < found.mfu < 1


def test_the_whole_pipeline_is_healthy_if_it_keeps_the_device_busy(model, ceiling, tmp_path):
    fasta = generate_tuning_workload(tmp_path, num_sequences=6000)
    collator = VarlenCollator(
        esm.data.Alphabet.from_architecture("ESM-1b").get_batch_converter(), max_tokens_per_batch=BUDGET
    )
    with create_async_dataloader(SequenceDataset(fasta), collator, num_workers=4) as loader:
        found = verdict(profiled(model, loader), ceiling)
    assert found.stage_share > 0.9
    # A device that waits for a copy to be launched is in that copy's stage, and counts as launching.
    idle = 1 - found.stage_share + found.lost_time.get("launching", 0.0)
    assert found.healthy or idle > 0.02, found.sentence


def test_a_slow_reader(model, ceiling):
    found = verdict(profiled(model, ready(packs(40), pause_s=SLOW_S)), ceiling)
    assert found.bottleneck == "data_loading"
    assert not found.healthy


def test_slow_collation(model, ceiling):
    found = verdict(profiled(model, ready(packs(40), collating_s=SLOW_S)), ceiling)
    assert found.bottleneck == "collation"
    assert not found.healthy


def test_a_synchronize_per_batch(model, ceiling):
    found = verdict(profiled(model, ready(recorded(model, packs(100))), consume=torch.cuda.synchronize), ceiling)
    assert found.bottleneck == "synchronizing"
    assert not found.healthy


def test_one_batch_in_flight(model, ceiling):
    found = verdict(profiled(model, ready(recorded(model, packs(100))), in_flight=1), ceiling)
    assert found.bottleneck == "synchronizing"
    assert not found.healthy


def test_tiny_budgets(model, ceiling):
    """CUDA graphs are off, since they remove this bottleneck."""
    launched, _ = load_esm2_model("650M", "cuda", precision="bf16", weights="random", cuda_graphs=False)
    found = verdict(profiled(launched, ready(packs(200, budget=128))), ceiling)
    assert found.bottleneck == "launching"
    assert not found.healthy


def test_an_unpinned_copy(model, ceiling):
    """Copy the embeddings of all residues to the host with a plain .cpu()."""
    profiler = BatchProfiler(device="cuda")
    stream = torch.cuda.current_stream().cuda_stream
    with profiler, torch.inference_mode():
        for packed in profiler.batches(ready(packs(60, pin_memory=False))):
            batch = profiler.current_batch
            batch.set_packing(packed.statistics)
            batch.mark("h2d", stream)
            tokens, cu_seqlens = packed.tokens.cuda(), packed.cu_seqlens.cuda()
            batch.mark("forward", stream)
            hidden = model(tokens, cu_seqlens, packed.max_seqlen, packed.cu_seqlens).float()
            batch.mark("d2h", stream)
            hidden.cpu()
            batch.end_stage()
    found = verdict(profiler.result, ceiling)
    assert found.bottleneck == "copying"
    assert not found.healthy
    assert "pin the memory" in found.sentence


@contextmanager
def matrix_products_on_another_stream():
    """Yield a function that queues about 30 ms of matmuls with one call, as a captured graph."""
    side = torch.cuda.Stream()
    left, right = (torch.randn(2048, 2048, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product = torch.empty_like(left)
    with torch.cuda.stream(side):
        torch.mm(left, right, out=product)  # loads the kernel, which is not allowed during a capture
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        for _ in range(1000):
            torch.mm(left, right, out=product)

    def queue():
        with torch.cuda.stream(side):
            graph.replay()

    try:
        yield queue
    finally:
        torch.cuda.synchronize()


def test_a_competing_kernel_on_another_stream(model, ceiling):
    batches = packs(80)
    with matrix_products_on_another_stream() as queue:
        for _ in range(10):
            queue()
        found = verdict(profiled(model, ready(batches, before=queue)), ceiling)
    assert found.bottleneck == "shared_device"
    assert not found.healthy


COMPETITOR = """
import time
import torch
left, right = (torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16) for _ in range(2))
product = torch.mm(left, right)
torch.cuda.synchronize()
print("at work", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    for _ in range(50):
        torch.mm(left, right, out=product)
    torch.cuda.synchronize()
"""


@contextmanager
def a_process_at_work():
    process = subprocess.Popen([sys.executable, "-c", COMPETITOR], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().strip() == "at work", "the competing process did not start"
        yield
    finally:
        process.kill()
        process.wait()


def test_a_competing_process(model, ceiling):
    batches = packs(100)
    with a_process_at_work():
        found = verdict(profiled(model, ready(batches)), ceiling)
    assert found.bottleneck == "shared_device"
    assert not found.healthy
