# SPDX-License-Identifier: MIT
"""The runner's order, records and ends, on the CPU and against a device that is only pretended."""

import contextlib
import gc
import os
import signal
import weakref
from time import monotonic_ns

import pytest
import torch

from tests.support.fasta_files import random_records, write_fasta
from tests.support.packed import (
    TINY,
    RecordingProfiler,
    fair_esm_model,
    mean_over_residues,
    packed_batch,
    padded_oracle,
    proteins,
)
from virnuc_profiler import AsyncInferenceRunner, BatchProfiler
from virnuc_profiler.errors import DeadlineExceeded, NonFiniteError, UsageError, WorkerCrash
from virnuc_profiler.inference import runner as runner_module
from virnuc_profiler.inference.collator import VarlenCollator
from virnuc_profiler.inference.dataloader import create_async_dataloader
from virnuc_profiler.inference.dataset import SequenceDataset
from virnuc_profiler.inference.packed_esm2 import PackedESM2
from virnuc_profiler.telemetry.records import STAGES as STAGE_NAMES

STAGES = ["fetch", "end_stage", ("collate", 1_000, 2_000), "h2d", "forward", "pool", "d2h", "end_stage", "emit"]


@pytest.fixture(scope="module")
def oracle():
    return fair_esm_model(TINY)


@pytest.fixture(scope="module")
def model(oracle):
    return PackedESM2.from_fair_esm(oracle)


@pytest.fixture
def profiler():
    return RecordingProfiler()


def batches(sizes):
    """Packs with that many sequences each, positions counting on."""
    first = 0
    for size in sizes:
        yield packed_batch(proteins(range(first + 1, first + size + 1)), first_position=first, token_budget=4096)
        first += size


def drain(run, seen):
    """Consumes a run; what came out is in `seen` even if the run fails."""
    for result in run:
        seen.append(result.batch_idx)


class PretendedDevice:
    """Launches at once and finishes when waited for, writing down the order of both."""

    def __init__(self, monkeypatch):
        self.log = []
        self.fail_at = {}
        self.broken_rows = {}
        self.while_waiting = lambda number: None
        monkeypatch.setattr(runner_module, "resolve_device", lambda device: torch.device("cuda", 0))
        monkeypatch.setattr(runner_module, "launcher_for", lambda model, device: self.launch)

    def launch(self, packed, marks):
        number = sum(kind == "launch" for kind, _ in self.log)
        self.log.append(("launch", number))
        if ("launch", number) in self.fail_at:
            raise self.fail_at["launch", number]
        return PretendedBatch(self, packed, number)


class PretendedBatch:
    """A batch that is on its way through the pretended device."""

    def __init__(self, device, packed, number):
        self.device, self.packed, self.number = device, packed, number

    def wait(self):
        self.device.log.append(("wait", self.number))
        self.device.while_waiting(self.number)
        if ("wait", self.number) in self.device.fail_at:
            raise self.device.fail_at["wait", self.number]
        embeddings = torch.full((len(self.packed.positions), 2), float(self.number))
        embeddings[self.device.broken_rows.get(self.number, [])] = torch.nan
        return embeddings

    def abandon(self):
        self.device.log.append(("abandon", self.number))


@pytest.fixture
def device(monkeypatch):
    return PretendedDevice(monkeypatch)


def test_every_sequence_comes_out_once_under_its_own_id(model, oracle):
    sizes = [3, 1, 4, 2]
    results = list(AsyncInferenceRunner(model, "cpu").run(batches(sizes)))
    assert [result.batch_idx for result in results] == [0, 1, 2, 3]
    positions = [position for result in results for position in result.positions.tolist()]
    assert positions == list(range(10))
    assert [name for result in results for name in result.sequence_ids] == [f"seq{position}" for position in positions]
    found = torch.cat([result.embeddings for result in results])
    assert found.dtype == torch.float32
    sequences = [protein for first, size in [(0, 3), (3, 1), (4, 4), (8, 2)]
                 for protein in proteins(range(first + 1, first + size + 1))]  # fmt: skip
    expected = torch.stack([mean_over_residues(rows) for rows in padded_oracle(oracle, sequences)])
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_results_belong_to_the_consumer(model):
    results = list(AsyncInferenceRunner(model, "cpu").run(batches([2, 2])))
    kept = results[0].embeddings.clone()
    results[1].embeddings.zero_()
    assert torch.equal(results[0].embeddings, kept)
    assert not results[0].embeddings.is_inference()
    torch.nn.Linear(32, 1)(results[0].embeddings).sum().backward()


def test_the_consumers_own_code_is_not_in_inference_mode(model):
    for _ in AsyncInferenceRunner(model, "cpu").run(batches([1])):
        assert not torch.is_inference_mode_enabled()


def test_an_empty_loader_gives_nothing_and_records_nothing(model, profiler):
    assert list(AsyncInferenceRunner(model, "cpu", profiler=profiler).run([])) == []
    assert [batch.state for batch in profiler.begun] == ["discarded"]


def test_every_batch_is_recorded_with_its_stages_and_packing(model, profiler):
    packs = list(batches([3, 1, 2]))
    for _ in AsyncInferenceRunner(model, "cpu", profiler=profiler).run(packs):
        pass
    assert [batch.state for batch in profiler.begun] == ["ended"] * 3 + ["discarded"]
    assert all(batch.calls == STAGES for batch in profiler.batches())
    assert [batch.packing for batch in profiler.batches()] == [pack.statistics for pack in packs]


def test_a_batch_stays_open_while_the_consumer_has_its_results(model, profiler):
    run = AsyncInferenceRunner(model, "cpu", profiler=profiler).run(batches([1, 1]))
    next(run)
    assert [batch.state for batch in profiler.begun] == ["open"]
    next(run)
    assert [batch.state for batch in profiler.begun] == ["ended", "open"]
    assert list(run) == []
    assert [batch.state for batch in profiler.begun] == ["ended", "ended", "discarded"]


@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_the_next_batches_are_queued_before_the_oldest_is_waited_for(device, in_flight):
    results = list(AsyncInferenceRunner(None, "cuda", in_flight=in_flight).run(batches([1] * 5)))
    assert [result.batch_idx for result in results] == [0, 1, 2, 3, 4]
    assert [result.embeddings[0, 0].item() for result in results] == [0, 1, 2, 3, 4]
    for number in range(5):
        launched = {entry for entry in device.log[: device.log.index(("wait", number))] if entry[0] == "launch"}
        assert len(launched) == min(5, number + in_flight)


def test_the_cpu_computes_a_batch_only_when_the_last_one_is_handed_over(model, profiler):
    run = AsyncInferenceRunner(model, "cpu", profiler=profiler, in_flight=4).run(batches([1, 1, 1]))
    next(run)
    assert len(profiler.begun) == 1


def test_leaving_the_loop_records_what_was_handed_over(device, profiler):
    for result in AsyncInferenceRunner(None, "cuda", profiler=profiler, in_flight=3).run(batches([1] * 9)):
        if result.batch_idx == 1:
            break
    assert [batch.state for batch in profiler.begun] == ["ended", "ended", "discarded", "discarded"]


def test_an_error_of_the_loader_comes_after_the_results_on_their_way(device, profiler):
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


def test_a_dead_device_ends_the_run_and_no_batch_counts_that_did_not_arrive(device, profiler):
    device.fail_at["wait", 1] = RuntimeError("CUDA error: an illegal memory access was encountered")
    device.fail_at["wait", 2] = RuntimeError("CUDA error: an illegal memory access was encountered")
    seen = []
    with pytest.raises(RuntimeError, match="illegal memory access"):
        drain(AsyncInferenceRunner(None, "cuda", profiler=profiler, in_flight=2).run(batches([1] * 5)), seen)
    assert seen == [0]
    assert [batch.state for batch in profiler.begun] == ["ended", "discarded", "discarded"]


def test_non_finite_embeddings_are_named_in_the_result(device, profiler, caplog):
    device.broken_rows[1] = [0, 2]
    results = list(AsyncInferenceRunner(None, "cuda", profiler=profiler).run(batches([3, 3, 3])))
    assert [list(result.non_finite) for result in results] == [[], ["seq3", "seq5"], []]
    (record,) = caplog.records
    assert "of 2 of the 3 sequences of batch 1: seq3, seq5;" in record.getMessage()
    assert [batch.state for batch in profiler.begun] == ["ended"] * 3 + ["discarded"]


def test_non_finite_embeddings_can_end_the_run(device, profiler, caplog):
    device.broken_rows.update({1: [0], 2: [1]})
    seen = []
    runner = AsyncInferenceRunner(None, "cuda", profiler=profiler, in_flight=2, on_non_finite="raise")
    run = runner.run(batches([3] * 9))
    with pytest.raises(NonFiniteError, match="of 1 of the 3 sequences of batch 1") as caught:
        drain(run, seen)
    assert caught.value.sequence_ids == ["seq3"]
    assert seen == [0]
    assert [batch.state for batch in profiler.begun] == ["ended", "discarded", "discarded"]
    assert device.log[-1] == ("abandon", 2)
    assert caplog.records == []


def test_nan_weights_are_reported_on_the_cpu_too(oracle):
    model = PackedESM2.from_fair_esm(oracle)
    model.final_norm.weight.fill_(torch.nan)
    (result,) = AsyncInferenceRunner(model, "cpu").run(batches([2]))
    assert list(result.non_finite) == ["seq0", "seq1"]


def test_the_workers_own_error_comes_after_the_results_on_their_way(device):
    def loader():
        yield from batches([1, 1])
        raise WorkerCrash("a DataLoader worker raised ValueError: the moon is full")

    seen = []
    with pytest.raises(WorkerCrash, match="the moon is full"):
        drain(AsyncInferenceRunner(None, "cuda", in_flight=4).run(loader()), seen)
    assert seen == [0, 1]


def test_a_worker_that_dies_while_the_device_is_waited_for(device, tmp_path):
    path = write_fasta(tmp_path / "sequences.faa", random_records(3000, longest=80))
    collator = VarlenCollator(None, 512, 1022, buffer_size=50)
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
    assert device.log == [("launch", 0), ("abandon", 0)]
    assert profiler.batches("ended") == []


def test_what_is_no_packed_batch_is_named(model, profiler):
    with pytest.raises(TypeError, match=r"needs batches of type PackedBatch.*one of type tuple"):
        list(AsyncInferenceRunner(model, "cpu", profiler=profiler).run([("id", "MKT")]))
    assert [batch.state for batch in profiler.begun] == ["discarded"]
    with pytest.raises(TypeError, match="not iterable"):
        AsyncInferenceRunner(model, "cpu").run(None)


def test_the_deadline_is_looked_at_between_batches(device, monkeypatch, profiler):
    clock = iter(range(10_000_000_000, 99_000_000_000, 1_000_000_000))
    monkeypatch.setattr(runner_module, "monotonic_ns", lambda: next(clock))
    runner = AsyncInferenceRunner(None, "cuda", deadline_ns=12_500_000_000, profiler=profiler)
    seen = []
    with pytest.raises(DeadlineExceeded, match=r"within its limit of 2\.5 s"):
        drain(runner.run(batches([1] * 9)), seen)
    # Begun at 10 s, batches 0 and 1 at 11 and 12 s; at 13 s it is too late for the next, and none is lost.
    assert seen == [0, 1]
    assert [batch.state for batch in profiler.begun] == ["ended", "ended"]


def test_a_deadline_in_the_past_begins_nothing(model, profiler):
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
    """A model whose tensors can be counted after the fact."""

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


def test_wrong_arguments_are_named(model):
    with pytest.raises(ValueError, match="in_flight must be at least 1, not 0"):
        AsyncInferenceRunner(model, "cpu", in_flight=0)
    with pytest.raises(ValueError, match="on_non_finite is 'ignore', must be one of report, raise"):
        AsyncInferenceRunner(model, "cpu", on_non_finite="ignore")
    with pytest.raises(UsageError, match="'tpu' is not one of"):
        AsyncInferenceRunner(model, "tpu")


def test_a_model_on_another_device_is_named(device, model):
    with pytest.raises(ValueError, match="the model is on cpu, not on cuda:0"):
        AsyncInferenceRunner(model, "cuda")


def test_the_real_profiler_records_what_came_out(model):
    packs = list(batches([3, 1, 2]))
    with BatchProfiler(device="cpu", sample_gpu=False) as profiler:
        results = list(AsyncInferenceRunner(model, "cpu", profiler=profiler).run(packs))
    run = profiler.result
    assert [batch.index for batch in run.batches] == [result.batch_idx for result in results] == [0, 1, 2]
    assert run.total_sequences == 6
    assert run.total_tokens == sum(len(pack.tokens) for pack in packs)
    for batch in run.batches:
        assert sorted(stage.name for stage in batch.stages) == sorted(STAGE_NAMES)
        (collate,) = (stage for stage in batch.stages if stage.name == "collate")
        assert (collate.host_start_ns, collate.host_end_ns) == (1_000, 2_000)
        assert batch.packing.token_budget == 4096
