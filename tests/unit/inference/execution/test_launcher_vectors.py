# SPDX-License-Identifier: MIT
"""Where the launcher has room for a batch's vectors, and replays that write their own times beside them."""

from itertools import pairwise

import pytest
import torch

from tests.support.launching import COMPUTE, COPY_IN, COPY_OUT, Marks, batch_of, token_four_times
from tests.support.packed import RecordedBatch
from virnuc_profiler.inference.execution import vectors as stamped_vectors
from virnuc_profiler.inference.execution.launcher import CpuLauncher, CudaLauncher
from virnuc_profiler.inference.execution.vectors import OutputBuffers


@pytest.fixture
def launch(cuda):
    return CudaLauncher(token_four_times, torch.device("cpu"))


class ReplayingModel:
    """As one whose whole pass is recorded: asked for it, it writes down when it begins and ends."""

    def embed_sequences(self, tokens, cu_seqlens, max_seqlen, host_cu_seqlens, marks):
        ends = cu_seqlens.tolist()
        vectors = torch.stack([tokens[begin + 1 : end - 1].float().mean().expand(4) for begin, end in pairwise(ends)])
        room = marks.output_buffer(len(ends) - 1, 4)
        stamps = marks.replays()
        if stamps is not None:
            stamps.copy_(torch.tensor([1000 * len(tokens), 1000 * len(tokens) + 7]))
        return vectors if room is None else room.copy_(vectors)


class StampedMarks(Marks):
    wanted = True

    def __init__(self, cuda):
        super().__init__(cuda)
        self.stamps = []

    def mark_device_timestamped(self, stage, stream, followed_by):
        self.mark(stage, stream)
        assert followed_by == "d2h"
        return self.wanted

    def set_device_timestamps(self, start_ns, end_ns):
        self.stamps.append((start_ns, end_ns))


class UnstampedMarks(StampedMarks):
    wanted = False


def test_a_replay_takes_its_own_time(cuda):
    launch = CudaLauncher(ReplayingModel(), torch.device("cpu"))
    batches = [batch_of(*lengths) for lengths in ([3, 5], [2], [9, 9, 9], [3, 5], [1] * 40)]
    marks = [StampedMarks(cuda) for _ in batches]
    # Two in flight, so that a batch's vectors must not lie where the next one's go.
    flights = [launch(batches[0], marks[0])]
    found = []
    for batch, its_marks in zip(batches[1:], marks[1:], strict=True):
        flights.append(launch(batch, its_marks))
        found.append(flights.pop(0).wait())
    found.append(flights.pop().wait())
    for batch, vectors, its_marks in zip(batches, found, marks, strict=True):
        unstamped = UnstampedMarks(cuda)
        torch.testing.assert_close(vectors, launch(batch, unstamped).wait())
        assert its_marks.streams == [("h2d", COPY_IN), ("forward", COMPUTE), ("d2h", COPY_OUT)]
        assert its_marks.stamps == [(1000 * len(batch.tokens), 1000 * len(batch.tokens) + 7)]
        assert unstamped.stamps == []


def test_a_model_that_makes_several_passes_gets_room_for_one(cuda):
    class Mean(ReplayingModel):
        def embed_sequences(self, tokens, *others):
            return (super().embed_sequences(tokens, *others) + super().embed_sequences(tokens + 10, *others)) / 2

    batch, marks = batch_of(3, 5), StampedMarks(cuda)
    found = CudaLauncher(Mean(), torch.device("cpu"))(batch, marks).wait()
    alone = [batch.tokens[begin + 1 : end - 1].float().mean() for begin, end in ((0, 5), (5, 12))]
    torch.testing.assert_close(found, torch.stack(alone)[:, None].expand(2, 4) + 5)
    assert len(marks.stamps) == 1


def test_new_memory_is_written_after_what_its_stream_was_still_at_work_on(cuda, launch):
    launch(batch_of(3, 5), Marks(cuda))
    knew = [batches_copied_out(cuda, launch, batch_of(*lengths)) for lengths in ([4], [9] * 50)]
    assert knew == [1, 2]  # each took a slot, or more room than it had, that was new


def batches_copied_out(cuda, launch, batch):
    """Of how many the computing stream knows when it computes this one, while all before it are in flight."""
    launch(batch, Marks(cuda))
    return cuda.compute.knows.get("copy out", 0)


def test_the_tensors_over_the_vectors_room_are_not_kept_without_end(cuda, monkeypatch):
    monkeypatch.setattr(stamped_vectors, "_MAX_SHAPES", 3)
    room = OutputBuffers(torch.device("cpu"), torch.cuda.Stream(None))
    first = room.sides(9, 4)
    for sequences in range(1, 9):
        sides = room.sides(sequences, 4)
        assert sides is room.sides(sequences, 4)
        assert sides.device.vectors.shape == (sequences, 4)
        assert len(room._sides) <= 3
    assert room.sides(9, 4).device.memory.data_ptr() == first.device.memory.data_ptr()


def test_memory_that_outlives_a_forward_is_not_of_its_stream(cuda, launch, monkeypatch):
    made_on = []
    real = torch.empty

    def empty(*shape, **options):
        if "device" in options:
            made_on.append(torch.cuda.current_stream(options["device"]).cuda_stream)
        return real(*shape, **options)

    monkeypatch.setattr(torch, "empty", empty)
    expected = CpuLauncher(token_four_times)(batch_of(3, 5), RecordedBatch(0)).wait()
    assert torch.equal(launch(batch_of(3, 5), Marks(cuda)).wait(), expected)
    assert made_on == [COPY_IN, COPY_IN, COPY_OUT]  # tokens, lengths, vectors


def test_once_warm_nothing_is_made_for_a_replay(cuda, monkeypatch):
    launch = CudaLauncher(ReplayingModel(), torch.device("cpu"))
    sizes = [1, 2, 7, 30]
    for size in reversed(sizes):
        launch(batch_of(*[size] * size), StampedMarks(cuda)).wait()
    monkeypatch.setattr(torch, "empty", None)
    for size in sizes * 3:
        launch(batch_of(*[size] * size), StampedMarks(cuda)).wait()


def test_what_is_done_to_the_vectors_after_a_replay_is_not_lost(cuda):
    class Shifting(ReplayingModel):
        def embed_sequences(self, *arguments):
            return super().embed_sequences(*arguments) + 1000

    launch = CudaLauncher(Shifting(), torch.device("cpu"))
    batch, stamped, unstamped = batch_of(3, 5), StampedMarks(cuda), UnstampedMarks(cuda)
    torch.testing.assert_close(launch(batch, stamped).wait(), launch(batch, unstamped).wait())
    assert stamped.stamps == [(1000 * len(batch.tokens), 1000 * len(batch.tokens) + 7)]


def test_what_the_model_looks_up_is_no_part_of_the_copy(cuda):
    class Asked(ReplayingModel):
        def embed_sequences(self, *arguments):
            assert marks.calls == ["h2d", "end_stage"]
            return super().embed_sequences(*arguments)

    marks = StampedMarks(cuda)
    CudaLauncher(Asked(), torch.device("cpu"))(batch_of(3), marks).wait()
    assert marks.calls[-2:] == ["d2h", "end_stage"]
