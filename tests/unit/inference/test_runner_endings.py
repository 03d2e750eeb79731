# SPDX-License-Identifier: MIT
"""How runs end: early exit, close, deadline, or an error of the loader, a worker, the model or the device."""

import contextlib
import gc
import os
import signal
import weakref
from time import monotonic_ns

import pytest
import torch

from tests.support.fasta_files import random_records, write_fasta
from tests.support.packed import TINY, fair_esm_model
from tests.support.simulated_device import batches, drain
from virnuc_profiler import AsyncInferenceRunner
from virnuc_profiler.errors import DeadlineExceeded, WorkerCrash
from virnuc_profiler.inference import runner as runner_module
from virnuc_profiler.inference.esm2.load import from_fair_esm
from virnuc_profiler.inference.loading.loader import create_async_dataloader
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.sequences.dataset import SequenceDataset


@pytest.fixture(scope="module")
def model():
    return from_fair_esm(fair_esm_model(TINY))


def test_leaving_the_loop_records_the_delivered_batches(device, profiler):
    for result in AsyncInferenceRunner(None, "cuda", profiler=profiler, in_flight=3).run(batches([1] * 9)):
        if result.batch_idx == 1:
            break
    assert [batch.state for batch in profiler.begun] == ["ended", "ended", "discarded", "discarded"]


def test_results_in_flight_come_before_the_loaders_error(device, profiler):
    def loader():
        yield from batches([1, 1, 1])
        raise OSError("disk gone")

    seen = []
    with pytest.raises(OSError, match="disk gone"):
        drain(AsyncInferenceRunner(None, "cuda", profiler=profiler, in_flight=3).run(loader()), seen)
    assert seen == [0, 1, 2]
    assert [batch.state for batch in profiler.begun] == ["ended"] * 3 + ["discarded"]


def test_out_of_memory_in_a_forward_spares_the_batches_before_it(device, profiler):
    device.fail_at["launch", 2] = torch.OutOfMemoryError("CUDA out of memory")
    seen = []
    run = AsyncInferenceRunner(None, "cuda", profiler=profiler).run(batches([1] * 5))
    with pytest.raises(torch.OutOfMemoryError):
        drain(run, seen)
    assert seen == [0, 1]
    assert [batch.state for batch in profiler.begun] == ["ended", "ended", "discarded"]
    assert list(run) == []


def test_a_dead_device_ends_the_run_and_only_delivered_batches_count(device, profiler):
    device.fail_at["wait", 1] = RuntimeError("CUDA error: an illegal memory access was encountered")
    device.fail_at["wait", 2] = RuntimeError("CUDA error: an illegal memory access was encountered")
    seen = []
    with pytest.raises(RuntimeError, match="illegal memory access"):
        drain(AsyncInferenceRunner(None, "cuda", profiler=profiler, in_flight=2).run(batches([1] * 5)), seen)
    assert seen == [0]
    assert [batch.state for batch in profiler.begun] == ["ended", "discarded", "discarded"]


def test_results_in_flight_come_before_a_workers_error(device):
    def loader():
        yield from batches([1, 1])
        raise WorkerCrash("a DataLoader worker raised ValueError: the moon is full")

    seen = []
    with pytest.raises(WorkerCrash, match="the moon is full"):
        drain(AsyncInferenceRunner(None, "cuda", in_flight=4).run(loader()), seen)
    assert seen == [0, 1]


def test_a_worker_that_dies_while_the_host_waits_for_the_device(device, tmp_path):
    path = write_fasta(tmp_path / "sequences.faa", random_records(3000, longest=80))
    collator = VarlenCollator(max_tokens_per_batch=512, buffer_size=50)
    loader = create_async_dataloader(SequenceDataset(path, chunk_sequences=5), collator, num_workers=2)

    def kill_at_the_third(number):
        if number == 2:
            os.kill(loader.worker_pids()[1], signal.SIGKILL)

    device.while_waiting = kill_at_the_third
    seen = []
    with pytest.raises(WorkerCrash, match=r"worker 1 \(pid \d+\) was killed by SIGKILL"):
        drain(AsyncInferenceRunner(None, "cuda", in_flight=3).run(loader), seen)
    assert seen == list(range(sum(kind == "launch" for kind, _ in device.log)))
    assert loader.collator.sequences_in < 3000


def test_an_interrupt_in_the_loader_ends_the_run_at_once(device, profiler):
    def loader():
        yield from batches([1])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(AsyncInferenceRunner(None, "cuda", profiler=profiler).run(loader()))
    assert device.log == [("launch", 0), ("drop", 0)]
    assert profiler.batches("ended") == []


def test_the_deadline_is_checked_between_batches(device, monkeypatch, profiler):
    clock = iter(range(10_000_000_000, 99_000_000_000, 1_000_000_000))
    monkeypatch.setattr(runner_module, "monotonic_ns", lambda: next(clock))
    runner = AsyncInferenceRunner(None, "cuda", deadline_ns=12_500_000_000, profiler=profiler)
    seen = []
    with pytest.raises(DeadlineExceeded, match=r"within its limit of 2\.5 s"):
        drain(runner.run(batches([1] * 9)), seen)
    # The run starts at 10 s, batches 0 and 1 at 11 and 12 s; at 13 s the deadline has passed, and no result is lost.
    assert seen == [0, 1]
    assert [batch.state for batch in profiler.begun] == ["ended", "ended"]


def test_the_time_in_which_a_run_was_stopped_does_not_count_towards_its_deadline(device, monkeypatch, profiler):
    clock = iter(range(10_000_000_000, 99_000_000_000, 1_000_000_000))
    monkeypatch.setattr(runner_module, "monotonic_ns", lambda: next(clock))
    profiler.stopped = 4_000_000_000
    runner = AsyncInferenceRunner(None, "cuda", deadline_ns=12_500_000_000, profiler=profiler)
    seen = []
    with pytest.raises(DeadlineExceeded, match=r"within its limit of 2\.5 s"):
        drain(runner.run(batches([1] * 9)), seen)
    assert seen == [0, 1, 2, 3, 4, 5]


def test_a_deadline_in_the_past_starts_no_batch(model, profiler):
    runner = AsyncInferenceRunner(model, "cpu", deadline_ns=monotonic_ns() - 1, profiler=profiler)
    with pytest.raises(DeadlineExceeded, match=r"0\.0 s"):
        list(runner.run(batches([1])))
    assert profiler.begun == []


def test_close_ends_a_run_and_is_idempotent(device, profiler):
    runner = AsyncInferenceRunner(None, "cuda", profiler=profiler, in_flight=2)
    run = runner.run(batches([1] * 4))
    next(run)
    runner.close()
    runner.close()
    assert list(run) == []
    assert [batch.state for batch in profiler.begun] == ["ended", "discarded"]
    with pytest.raises(ValueError, match="closed: make a new one"):
        runner.run([])


def test_a_with_statement_closes(model):
    with AsyncInferenceRunner(model, "cpu") as runner:
        run = runner.run(batches([1, 1]))
        next(run)
    assert list(run) == []


class Watched:
    """A model that tracks which of its tensors are alive."""

    def __init__(self, fail_at=None):
        self.alive = weakref.WeakSet()
        self.calls = 0
        self.fail_at = fail_at

    def __call__(self, tokens, cu_seqlens, max_seqlen):
        hidden = torch.ones(len(tokens), 4)
        self.alive.add(hidden)
        self.alive.add(tokens)
        self.calls += 1
        if self.calls == self.fail_at:
            raise torch.OutOfMemoryError("out of memory")
        return hidden


@pytest.mark.parametrize("end", ["exhausted", "consumer", "loader", "model", "closed"])
def test_no_tensor_outlives_a_run_however_it_ends(end, profiler):
    def loader():
        yield from batches([1, 1])
        if end == "loader":
            raise OSError("gone")

    watched = Watched(fail_at=2 if end == "model" else None)
    runner = AsyncInferenceRunner(watched, "cpu", profiler=profiler)

    def consume():
        for _ in runner.run(loader()):
            if end == "consumer":
                raise RuntimeError("consumer")
            if end == "closed":
                runner.close()

    gc.disable()  # only reference counts may free: a cycle would hold device memory until some later collection
    try:
        with contextlib.suppress(OSError, RuntimeError):
            consume()
        assert watched.calls >= 1
        assert len(watched.alive) == 0
    finally:
        gc.enable()
