# SPDX-License-Identifier: MIT
"""The runner on a GPU: its three streams never mix up batches, and never make the host wait."""

import gc
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.support.gpu import no_waiting
from tests.support.packed import RecordedBatch, packed_batch, proteins
from virnuc_profiler import AsyncInferenceRunner, BatchProfiler, load_esm2_model
from virnuc_profiler.errors import NonFiniteError
from virnuc_profiler.inference.execution.launcher import CudaLauncher
from virnuc_profiler.inference.marks import NoMarks
from virnuc_profiler.inference.ops.pooling import mean_pool

pytestmark = pytest.mark.gpu

LONG_CYCLES = 3_000_000
"""A few milliseconds, enough that work which failed to wait for it would finish first."""


@pytest.fixture(scope="module")
def model():
    return load_esm2_model("8M", "cuda:0", weights="random")[0]


@pytest.fixture(scope="module")
def launched_model():
    """A model without CUDA graphs, which therefore keeps no memory between batches."""
    return load_esm2_model("8M", "cuda:0", weights="random", cuda_graphs=False)[0]


@pytest.fixture(scope="module")
def batches():
    """Forty batches of 1 to 60 sequences in alternating sizes, half of them in pinned memory."""
    rng = np.random.default_rng(0)
    found, first = [], 0
    for number in range(40):
        lengths = rng.integers(1, 400, size=int(rng.integers(1, 61)))
        found.append(packed_batch(proteins(lengths, seed=number), first))
        first += len(lengths)
    return [pinned(batch) if number % 2 else batch for number, batch in enumerate(found)]


@pytest.fixture(scope="module")
def expected(model, batches):
    """Run each batch alone, on one stream, with a synchronization after each step."""
    return [alone(model, batch) for batch in batches]


def alone(model, batch):
    with torch.inference_mode():
        tokens, cu_seqlens = batch.tokens.cuda(), batch.cu_seqlens.cuda()
        torch.cuda.synchronize()
        hidden = model(tokens, cu_seqlens, batch.max_seqlen, batch.cu_seqlens)
        torch.cuda.synchronize()
        return mean_pool(hidden, cu_seqlens).cpu()


def pinned(batch):
    fields = {name: getattr(batch, name) for name in batch.__slots__}
    fields.update(tokens=batch.tokens.pin_memory(), cu_seqlens=batch.cu_seqlens.pin_memory())
    return type(batch)(**fields)


class Slow:
    """A model that delays the device before and after, and returns its result in memory that it reuses."""

    def __init__(self, model, fail_at=None):
        self.model = model
        self.device = model.device
        self.fail_at = fail_at
        self.calls = 0
        self.static = None

    def __call__(self, tokens, cu_seqlens, max_seqlen, host_cu_seqlens):
        torch.cuda._sleep(LONG_CYCLES)
        hidden = self.model(tokens, cu_seqlens, max_seqlen, host_cu_seqlens)
        if self.static is None or len(self.static) < len(hidden):
            self.static = torch.empty(2 * len(hidden), hidden.shape[1], dtype=hidden.dtype, device=hidden.device)
        self.static[: len(hidden)].copy_(hidden)
        torch.cuda._sleep(LONG_CYCLES)
        self.calls += 1
        if self.calls == self.fail_at:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.static[: len(hidden)]


def assert_equal(results, expected):
    assert len(results) == len(expected)
    for result, embeddings in zip(results, expected, strict=True):
        torch.testing.assert_close(result.embeddings, embeddings, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("in_flight", [1, 2, 4])
@pytest.mark.parametrize("stream", ["legacy default", "side"])
@pytest.mark.parametrize("slow", [False, True])
def test_each_batch_equals_the_one_run_alone(model, batches, expected, in_flight, stream, slow):
    runner = AsyncInferenceRunner(Slow(model) if slow else model, "cuda:0", in_flight=in_flight)
    with torch.cuda.stream(torch.cuda.Stream()) if stream == "side" else nullcontext(), no_waiting():
        results = list(runner.run(batches))
        again = list(runner.run(reversed(batches)))
    assert_equal(results, expected)
    assert_equal(again[::-1], expected)
    assert len(runner._launch._slots._free) == in_flight
    assert not any(result.embeddings.is_pinned() for result in results)


def test_the_stream_may_change_between_batches(model, batches, expected):
    streams = [torch.cuda.Stream(), torch.cuda.Stream(), torch.cuda.default_stream()]
    torch.cuda.synchronize()
    run = AsyncInferenceRunner(model, "cuda:0").run(batches)
    results = []
    for number in range(len(batches)):
        with torch.cuda.stream(streams[number % 3]):
            results.append(next(run))
    assert_equal(results, expected)


def test_two_concurrent_runs(model, batches, expected):
    runner = AsyncInferenceRunner(Slow(model), "cuda:0")
    pairs = list(zip(runner.run(batches), runner.run(reversed(batches)), strict=True))
    assert_equal([one for one, _ in pairs], expected)
    assert_equal([other for _, other in pairs], expected[::-1])


def test_input_order(model, batches, expected):
    shuffled = [batches[number] for number in np.random.default_rng(1).permutation(len(batches))]
    groups = list(AsyncInferenceRunner(model, "cuda:0").run(shuffled, in_order=True))
    total = sum(len(batch.positions) for batch in batches)
    assert np.concatenate([group.positions for group in groups]).tolist() == list(range(total))
    found = torch.cat([group.embeddings for group in groups])
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("in_flight", [1, 3])
def test_a_failing_model_spares_earlier_batches_and_the_runner(launched_model, batches, expected, in_flight):
    slow = Slow(launched_model)
    runner = AsyncInferenceRunner(slow, "cuda:0", in_flight=in_flight)
    list(runner.run(batches))  # model and slots have their final size from here on
    slow.calls, slow.fail_at = 0, 6
    gc.collect()
    held = torch.cuda.memory_allocated()
    results = []
    with pytest.raises(torch.OutOfMemoryError) as caught:
        results.extend(runner.run(batches))
    assert_equal(results, expected[:5])
    del caught, results
    gc.collect()
    assert torch.cuda.memory_allocated() <= held + (1 << 20)  # the hidden states alone would take several MiB
    assert len(runner._launch._slots._free) <= in_flight
    assert_equal(list(runner.run(batches)), expected)


def test_abandoned_runs_do_not_disturb_others(model, batches, expected):
    for _ in range(3):
        runner = AsyncInferenceRunner(Slow(model), "cuda:0", in_flight=4)
        next(runner.run(batches))
        runner.close()
        del runner  # its memory is free, although the device may still be working
        torch.cuda.empty_cache()
        assert_equal(list(AsyncInferenceRunner(model, "cuda:0").run(batches)), expected)
    torch.cuda.synchronize()


def test_close_releases_the_device_memory(launched_model, batches):
    list(AsyncInferenceRunner(launched_model, "cuda:0").run(batches))
    gc.collect()
    held = torch.cuda.memory_allocated()
    with AsyncInferenceRunner(launched_model, "cuda:0") as runner:
        assert len(list(runner.run(batches))) == len(batches)
        assert torch.cuda.memory_allocated() > held
    assert torch.cuda.memory_allocated() == held


def test_close_releases_cuda_graphs(model, batches):
    AsyncInferenceRunner(model, "cuda:0").close()
    gc.collect()
    held = torch.cuda.memory_allocated()
    with AsyncInferenceRunner(model, "cuda:0") as runner:
        for _ in range(2):
            list(runner.run(batches))
        assert torch.cuda.memory_allocated() > held
    assert torch.cuda.memory_allocated() == held


@pytest.mark.parametrize("reaction", ["report", "raise"])
def test_nan_weights_are_reported_with_ids(batches, reaction, caplog):
    broken = load_esm2_model("8M", "cuda:0", weights="random")[0]
    broken.final_norm.weight.fill_(torch.nan)
    runner = AsyncInferenceRunner(broken, "cuda:0", on_non_finite=reaction)
    if reaction == "raise":
        with pytest.raises(NonFiniteError) as caught:
            list(runner.run(batches[:3]))
        assert caught.value.sequence_ids == list(batches[0].sequence_ids)
        return
    with no_waiting():
        results = list(runner.run(batches[:3]))
    assert [list(result.non_finite) for result in results] == [list(batch.sequence_ids) for batch in batches[:3]]
    assert sum("NaN or infinity" in record.getMessage() for record in caplog.records) == 3


def allocations():
    """Number of blocks allocated so far, on the device and in pinned memory."""
    host = torch.cuda.host_memory_stats() if hasattr(torch.cuda, "host_memory_stats") else {}
    pinned_blocks = host.get("active_requests.allocated", host.get("num_host_alloc"))
    device = torch.cuda.memory_stats()
    return device["allocation.all.allocated"], device["segment.all.allocated"], pinned_blocks


def test_a_warm_launcher_allocates_nothing(batches):
    unpinned = [packed_batch(proteins([400] * 60))] * 3
    longest = max(len(batch.tokens) for batch in (*batches, *unpinned))
    hidden = torch.arange(float(longest), device="cuda:0")[:, None].repeat(1, 320)

    def model(tokens, cu_seqlens, max_seqlen, host_cu_seqlens):
        return hidden[: len(tokens)]

    runner = AsyncInferenceRunner(model, "cuda:0", in_flight=3)
    largest = max(batches, key=lambda batch: len(batch.tokens) * 100 + len(batch.positions))
    most = max(batches, key=lambda batch: len(batch.positions))
    list(runner.run([*[largest] * 3, *[most] * 3, *unpinned]))
    before = allocations()
    seen = 0
    for batch, result in zip(batches * 5, runner.run(batches * 5), strict=True):
        seen += 1
        middles = (batch.cu_seqlens[:-1] + batch.cu_seqlens[1:] - 1) / 2
        torch.testing.assert_close(result.embeddings, middles[:, None].repeat(1, 320))
    assert seen == 200
    assert allocations() == before


def test_launching_never_waits_even_the_first_time(model, batches):
    launch = CudaLauncher(model, torch.device("cuda", 0))
    with no_waiting():
        launched = [launch(batch, NoMarks()) for batch in batches[:8]]
    for one, batch in zip(launched, batches, strict=False):
        torch.testing.assert_close(one.wait(), alone(model, batch), rtol=1e-3, atol=1e-4)


def test_marks_name_three_streams(model, batches):
    class Marks(RecordedBatch):
        def mark(self, stage, stream=None):
            super().mark(stage, stream)
            streams[stage] = stream

    streams = {}
    launch = CudaLauncher(model, torch.device("cuda", 0))
    launch(batches[0], Marks(0)).wait()
    # A replayed forward has no stage "pool".
    assert streams["forward"] == streams.get("pool", streams["forward"]) == torch.cuda.current_stream().cuda_stream
    assert len(set(streams.values())) == 3


def test_recorded_intervals_are_in_order_and_copies_overlap_the_forward(model):
    work = [pinned(packed_batch(proteins([500] * 20), 20 * number)) for number in range(20)]
    slow = Slow(model)
    list(AsyncInferenceRunner(slow, "cuda:0").run(work))
    profiler = BatchProfiler(device="cuda:0")
    with profiler:
        list(AsyncInferenceRunner(slow, "cuda:0", profiler=profiler, in_flight=3).run(work))
    recorded = profiler.result.batches
    assert len(recorded) == len(work)
    slack_ns = 50_000  # of device times on the host's axis
    times = [{stage.name: (stage.device_start_ns, stage.device_end_ns) for stage in batch.stages} for batch in recorded]
    for stages in times:
        assert stages["h2d"][1] <= stages["forward"][0] + slack_ns
        assert stages["forward"][1] <= stages["pool"][0] + slack_ns
        assert stages["pool"][1] <= stages["d2h"][0] + slack_ns
    assert all(one["pool"][1] <= following["forward"][0] + slack_ns for one, following in pairwise(times))
    assert any(following["h2d"][1] <= one["forward"][1] for one, following in pairwise(times))


def test_replays_record_device_timestamps(model, launched_model):
    """The same packs, replayed and launched, give equally many batches, the same stages, and matching times."""
    work = [pinned(packed_batch(proteins([200] * 20)))] * 40
    runs = {}
    for name, chosen in (("replayed", model), ("launched", launched_model)):
        for _ in range(2):  # the first run loads kernels and captures graphs
            with BatchProfiler(device="cuda:0") as profiler:
                list(AsyncInferenceRunner(chosen, "cuda:0", profiler=profiler).run(work))
        runs[name] = profiler.result
    assert all(run.device.dropped_batches == 0 for run in runs.values())
    stages, launched_stages = (
        [{stage.name: stage for stage in batch.stages} for batch in run.batches] for run in runs.values()
    )
    assert len(stages) == len(launched_stages) == len(work)
    assert all("pool" not in batch for batch in stages)
    for batch in stages:
        assert batch["h2d"].device_end_ns < batch["forward"].device_start_ns + 10_000
        assert batch["forward"].device_start_ns < batch["forward"].device_end_ns <= batch["d2h"].device_start_ns
    for before, after in pairwise(stages):
        assert before["forward"].device_end_ns <= after["forward"].device_start_ns
    # A launched forward takes longer by the gaps between its kernels, and never less.
    replayed, launched = (
        np.median([batch["forward"].device_ns for batch in some]) for some in (stages, launched_stages)
    )
    assert 50_000 < replayed < 1.1 * launched
