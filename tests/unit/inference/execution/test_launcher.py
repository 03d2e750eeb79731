# SPDX-License-Identifier: MIT
"""The launcher on simulated streams: the order of its operations, and the reuse of its memory."""

import ctypes
import gc
import re
import weakref
from contextlib import suppress
from dataclasses import replace

import pytest
import torch

from tests.support.launching import COMPUTE, COPY_IN, COPY_OUT, Marks, batch_of, token_four_times
from tests.support.packed import RecordedBatch, proteins
from virnuc_profiler import VarlenCollator
from virnuc_profiler.inference.execution.buffers import GrowingBuffer
from virnuc_profiler.inference.execution.launcher import CpuLauncher, CudaLauncher
from virnuc_profiler.inference.execution.slots import Slots


class Model:
    """Returns vectors that name their token, and records its calls on the simulated device."""

    def __init__(self, cuda):
        self.cuda = cuda
        self.alive = weakref.WeakSet()
        self.fail_at = None
        self.calls = 0

    def __call__(self, tokens, cu_seqlens, max_seqlen, host_cu_seqlens):
        self.cuda.operate("forward")
        self.calls += 1
        hidden = token_four_times(tokens)
        self.alive.add(hidden)
        if self.calls == self.fail_at:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return hidden


@pytest.fixture
def model(cuda):
    return Model(cuda)


@pytest.fixture
def launch(cuda, model):
    return CudaLauncher(model, torch.device("cpu"))


def expected(batch):
    return CpuLauncher(token_four_times)(batch, RecordedBatch(0)).wait()


def free_slots(launch):
    return list(launch._slots._free)


def test_each_stage_runs_on_its_own_stream_after_the_previous_one(cuda, launch):
    batch = batch_of(3, 5)
    marks = Marks(cuda)
    launched = launch(batch, marks)
    assert marks.streams == [("h2d", COPY_IN), ("forward", COMPUTE), ("pool", COMPUTE), ("d2h", COPY_OUT)]
    assert marks.calls[-1] == "end_stage"
    assert [(what, stream) for what, stream, _ in cuda.operations] == [
        ("copy", "copy in"), ("forward", "compute"), ("copy", "copy out")
    ]  # fmt: skip
    assert cuda.last("forward")[1]["copy in"] == 1
    assert cuda.operations[-1][2]["compute"] == 1
    # A stream waits before its stage is marked, so that the device interval does not include the wait.
    assert marks.knew["forward"]["copy in"] == 1
    assert marks.knew["d2h"]["compute"] == 1
    assert cuda.host_knows == {}
    assert torch.equal(launched.wait(), expected(batch))
    assert cuda.host_knows == {"copy in": 1, "compute": 1, "copy out": 1}


def collated(*lengths):
    """A batch in one block of memory, as the loader makes it."""
    collator = VarlenCollator(max_tokens_per_batch=10_000)
    pairs = [(f"p{number}", sequence) for number, sequence in enumerate(proteins(lengths))]
    (batch,) = [*collator(pairs), *collator.flush()]
    return batch


@pytest.mark.parametrize("lengths", [[3], [3, 5], [2, 4, 6], [1, 2, 3, 4], [9] * 50])
def test_a_pack_in_one_block_of_memory_takes_one_copy(cuda, launch, lengths):
    batch = collated(*lengths)
    launched = launch(batch, Marks(cuda))
    assert [what for what, stream, _ in cuda.operations if stream == "copy in"] == ["copy"]
    assert torch.equal(launched.wait(), expected(batch))


def test_copies_that_the_driver_queues_are_not_queued_again(cuda, launch):
    class Driver(Marks):
        """Queues the copies itself, as ``_core.Batch`` does."""

        def copy(self, stage, stream, target, source, size):
            self.mark(stage, stream)
            next(one for one in cuda.streams if one.cuda_stream == stream).operate("copy")
            ctypes.memmove(target, source, size)
            self.end_stage()
            return True

    for batch in (collated(3, 5), batch_of(3, 5)):
        cuda.operations.clear()
        marks = Driver(cuda)
        assert torch.equal(launch(batch, marks).wait(), expected(batch))
        assert [(what, stream) for what, stream, _ in cuda.operations] == [
            ("copy", "copy in"), ("forward", "compute"), ("copy", "copy out")
        ]  # fmt: skip
        assert marks.calls == ["h2d", "end_stage", "forward", "pool", "d2h", "end_stage"]


def test_pytorch_learns_that_a_dropped_batch_still_uses_pinned_memory(cuda, launch):
    """PyTorch knows of its own copies only, and would hand the memory out while the driver's copies read it."""
    dropped = launch(batch_of(3), Marks(cuda))
    before = len(cuda.operations)
    slot = dropped.slot
    dropped.drop()
    assert [(what, stream) for what, stream, _ in cuda.operations[before:]] == [
        ("copy", "copy in"),
        ("copy", "copy out"),
    ]
    assert slot.done.knows["copy in"] == slot.done.knows["copy out"] == 2


def test_replaced_tensors_of_a_batch_are_copied(cuda, launch):
    batch, other = collated(13, 15), collated(11, 17)
    for changed in (
        replace(batch, tokens=batch.tokens + 1),
        replace(batch, cu_seqlens=other.cu_seqlens),
        replace(batch, tokens=other.tokens, cu_seqlens=other.cu_seqlens),
        replace(batch, tokens=batch.tokens[:-4], cu_seqlens=batch.cu_seqlens - torch.tensor([0, 0, 4]).int()),
        replace(batch, tokens=batch.tokens[:17], cu_seqlens=batch.cu_seqlens[:-1]),
        replace(batch, tokens=batch.tokens.view(torch.int8)),
    ):
        assert torch.equal(launch(changed, Marks(cuda)).wait(), expected(changed))


def test_a_copy_in_waits_for_no_other_stream(cuda, launch):
    launch(batch_of(3), Marks(cuda))
    launch(batch_of(4), Marks(cuda))
    for what, stream, knows in cuda.operations:
        if (what, stream) == ("copy", "copy in"):
            assert set(knows) == {"copy in"}


def test_the_current_stream_computes(cuda, launch):
    side = cuda.streams[0].__class__(cuda, "side", 7)
    cuda.streams.append(side)
    cuda.current = side
    marks = Marks(cuda)
    launched = launch(batch_of(3), marks)
    assert marks.streams[1] == ("forward", 7)
    launched.wait()
    assert cuda.host_knows["side"] == 1
    # A model may reuse its own memory, so a forward on another stream must wait for the one on this stream.
    cuda.current = cuda.compute
    launch(batch_of(3), marks)
    assert cuda.last("forward")[1]["side"] == 1


def test_a_slot_is_reused_only_after_the_host_has_waited_for_it(cuda, launch):
    first, second = launch(batch_of(3), Marks(cuda)), launch(batch_of(4), Marks(cuda))
    assert free_slots(launch) == []
    first.wait()
    (slot,) = free_slots(launch)
    third = launch(batch_of(5), Marks(cuda))
    assert third.slot is slot
    assert third.slot is not second.slot
    assert torch.equal(second.wait(), expected(batch_of(4)))
    assert torch.equal(third.wait(), expected(batch_of(5)))


def test_a_warm_launcher_allocates_nothing(cuda, launch, monkeypatch):
    sizes = [1, 2, 7, 30, 90]
    for size in reversed(sizes):
        launch(batch_of(*[size] * size), Marks(cuda)).wait()
    made = cuda.events_made
    monkeypatch.setattr(torch, "empty", None)
    for size in sizes * 3:
        batch = batch_of(*[size] * size)
        assert torch.equal(launch(batch, Marks(cuda)).wait(), expected(batch))
    assert cuda.events_made == made
    assert len(free_slots(launch)) == 1


@pytest.mark.parametrize("fail_at", ["h2d", "forward", "pool", "d2h", "model"])
def test_an_error_frees_the_slot_and_everything_of_the_batch(cuda, model, launch, fail_at):
    class Failing(Marks):
        def mark(self, stage, stream=None):
            if stage == fail_at:
                raise torch.OutOfMemoryError("CUDA out of memory")
            super().mark(stage, stream)

    def fail():
        with pytest.raises(torch.OutOfMemoryError):
            launch(batch_of(30), Failing(cuda))

    launch(batch_of(3), Marks(cuda)).wait()
    model.fail_at = 2 if fail_at == "model" else None
    gc.disable()  # only reference counts may free
    try:
        fail()
        assert len(model.alive) == 0
    finally:
        gc.enable()
    (slot,) = free_slots(launch)
    assert slot.pooled is None
    # The next user of the slot, or of either stream's memory, waits for everything that was queued.
    queued = {stream: sum(name == stream for _, name, _ in cuda.operations) for stream in ("copy in", "compute")}
    assert slot.done.knows.items() >= queued.items()
    for stream in (cuda.streams[COPY_IN], cuda.compute):
        assert stream.knows.items() >= queued.items()
    launched = launch(batch_of(8), Marks(cuda))
    assert cuda.host_knows.items() >= queued.items()
    assert torch.equal(launched.wait(), expected(batch_of(8)))


def test_a_dropped_batch_is_waited_for_only_when_its_slot_is_needed(cuda, launch):
    dropped, other = launch(batch_of(3), Marks(cuda)), launch(batch_of(4), Marks(cuda))
    dropped.drop()
    assert cuda.host_knows == {}
    assert torch.equal(other.wait(), expected(batch_of(4)))
    assert torch.equal(launch(batch_of(5), Marks(cuda)).wait(), expected(batch_of(5)))
    assert len(free_slots(launch)) == 2


def test_a_lost_device_loses_its_slot_and_reports_every_error(cuda, model, launch):
    launched = launch(batch_of(3), Marks(cuda))
    cuda.lost = True
    launched.drop()
    assert free_slots(launch) == []
    with pytest.raises(RuntimeError, match="illegal memory access"):
        launch(batch_of(3), Marks(cuda))


@pytest.mark.parametrize("end", ["wait", "drop"])
def test_pinned_memory_of_a_lost_device_is_never_freed(cuda, launch, end):
    done, launched = launch(batch_of(4), Marks(cuda)), launch(batch_of(3), Marks(cuda))
    done.wait()
    held = [weakref.ref(owner) for owner in (launched.packed.tokens, launched.slot, free_slots(launch)[0])]
    cuda.lost = True
    with suppress(RuntimeError):
        getattr(launched, end)()
    launch._slots = None
    del done, launched
    gc.collect()
    assert None not in [owner() for owner in held]


def test_slots_are_freed_with_their_launcher(cuda, launch, model):
    launched = launch(batch_of(3), Marks(cuda))
    launched.wait()
    slot = weakref.ref(free_slots(launch)[0])
    slots = weakref.ref(launch._slots)
    gc.disable()
    try:
        del launched
        launch._slots = None
        assert slots() is None
        assert slot() is None
    finally:
        gc.enable()


def test_a_growing_buffer_grows_in_powers_of_two():
    buffer = GrowingBuffer(torch.int32)
    assert buffer.shaped(0).shape == (0,)
    first = buffer.shaped(5)
    assert buffer.shaped(2, 4).data_ptr() == first.data_ptr()
    assert buffer.shaped(8).data_ptr() == first.data_ptr()
    assert buffer.shaped(3, 3).dtype == torch.int32
    assert buffer._memory.numel() == 16


def test_only_the_event_that_the_host_waits_for_sleeps(cuda):
    slot = Slots(torch.device("cpu")).acquire()
    assert [event.blocking for event in (slot.copied, slot.computed, slot.done)] == [False, False, True]


@pytest.mark.parametrize(
    ("returned", "named"),
    [
        (torch.zeros(7, 4), "a tensor (7, 4)"),
        (torch.zeros(2, 6, 4), "a tensor (2, 6, 4)"),
        (torch.zeros(12), "a tensor (12,)"),
        ({"representations": torch.zeros(12, 4)}, "a dict"),
    ],
)
def test_a_model_that_does_not_return_one_vector_per_token_is_refused(cuda, returned, named):
    launch = CudaLauncher(lambda *_: returned, torch.device("cpu"))
    message = f"the model returned {named} for a pack of 12 tokens: it must return a tensor (T, h)"
    with pytest.raises(ValueError, match=re.escape(message)):
        launch(batch_of(3, 5), Marks(cuda))
    assert len(free_slots(launch)) == 1
