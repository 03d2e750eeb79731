# SPDX-License-Identifier: MIT
"""The launcher's output buffers, and replays that write device timestamps into them."""

from itertools import pairwise

import pytest
import torch

from tests.support.launching import COMPUTE, COPY_IN, COPY_OUT, Marks, batch_of, token_four_times
from tests.support.packed import RecordedBatch
from virnuc_profiler.inference.execution import output_buffers
from virnuc_profiler.inference.execution.launcher import CpuLauncher, CudaLauncher
from virnuc_profiler.inference.execution.output_buffers import OutputBuffers


@pytest.fixture
def launch(cuda):
    return CudaLauncher(token_four_times, torch.device("cpu"))


class ReplayingModel:
    """Stands in for a model that replays a CUDA graph, which writes device timestamps if they are requested."""

    def embed_sequences(self, tokens, cu_seqlens, max_seqlen, host_cu_seqlens, marks):
        ends = cu_seqlens.tolist()
        vectors = torch.stack([tokens[begin + 1 : end - 1].float().mean().expand(4) for begin, end in pairwise(ends)])
        out = marks.output_buffer(len(ends) - 1, 4)
        marks.begin_pass(gapless=True)
        if out is None:
            return vectors
        out.timestamps.copy_(torch.tensor([1000 * len(tokens), 1000 * len(tokens) + 7]))
        return out.vectors.copy_(vectors)


class TimestampedMarks(Marks):
    wanted = True

    def __init__(self, cuda):
        super().__init__(cuda)
        self.timestamps = []

    def mark_device_timestamped(self, stage, stream, followed_by, gapless):
        self.mark(stage, stream)
        assert followed_by == "d2h"
        assert gapless
        return self.wanted

    def set_device_timestamps(self, start_ns, end_ns):
        self.timestamps.append((start_ns, end_ns))


class EventMarks(TimestampedMarks):
    wanted = False


def test_a_replay_provides_its_own_timestamps(cuda):
    launch = CudaLauncher(ReplayingModel(), torch.device("cpu"))
    batches = [batch_of(*lengths) for lengths in ([3, 5], [2], [9, 9, 9], [3, 5], [1] * 40)]
    marks = [TimestampedMarks(cuda) for _ in batches]
    # Two in flight: the vectors of a batch must not share memory with those of the next one.
    flights = [launch(batches[0], marks[0])]
    found = []
    for batch, its_marks in zip(batches[1:], marks[1:], strict=True):
        flights.append(launch(batch, its_marks))
        found.append(flights.pop(0).wait())
    found.append(flights.pop().wait())
    for batch, vectors, its_marks in zip(batches, found, marks, strict=True):
        event_timed = EventMarks(cuda)
        torch.testing.assert_close(vectors, launch(batch, event_timed).wait())
        assert its_marks.streams == [("h2d", COPY_IN), ("forward", COMPUTE), ("d2h", COPY_OUT)]
        assert its_marks.timestamps == [(1000 * len(batch.tokens), 1000 * len(batch.tokens) + 7)]
        assert event_timed.timestamps == []


def test_a_model_with_several_passes_gets_one_output_buffer(cuda):
    class Mean(ReplayingModel):
        def embed_sequences(self, tokens, *others):
            return (super().embed_sequences(tokens, *others) + super().embed_sequences(tokens + 10, *others)) / 2

    batch, marks = batch_of(3, 5), TimestampedMarks(cuda)
    found = CudaLauncher(Mean(), torch.device("cpu"))(batch, marks).wait()
    alone = [batch.tokens[begin + 1 : end - 1].float().mean() for begin, end in ((0, 5), (5, 12))]
    torch.testing.assert_close(found, torch.stack(alone)[:, None].expand(2, 4) + 5)
    assert len(marks.timestamps) == 1


def test_a_pass_without_the_buffer_is_not_asked_for_timestamps(cuda):
    """The first pass, launched without timestamps, has the buffer; the second one writes its vectors elsewhere."""

    class Other(ReplayingModel):
        def embed_sequences(self, *arguments):
            marks = arguments[-1]
            marks.output_buffer(1, 4)
            marks.begin_forward()
            return super().embed_sequences(*arguments)

    marks = TimestampedMarks(cuda)
    CudaLauncher(Other(), torch.device("cpu"))(batch_of(3), marks).wait()
    assert marks.timestamps == []


def test_timestamps_of_an_earlier_pass_are_not_taken_for_those_of_a_failed_one(cuda):
    class OutOfMemory(ReplayingModel):
        def embed_sequences(self, *arguments):
            if self.fails:
                arguments[-1].output_buffer(1, 4)
                arguments[-1].begin_pass(gapless=True)  # its kernels do not run, since there is no memory for them
            return super().embed_sequences(*arguments)

    model, marks = OutOfMemory(), TimestampedMarks(cuda)
    launch = CudaLauncher(model, torch.device("cpu"))
    for lengths, model.fails in (([3], True), ([3], False), ([3], True), ([4], False), ([9] * 50, True)):
        launch(batch_of(*lengths), marks).wait()
    assert marks.timestamps == [(0, 0), (5000, 5007), (0, 0), (6000, 6007), (0, 0)]


def test_new_memory_is_written_after_the_pending_work_of_its_stream(cuda, launch):
    launch(batch_of(3, 5), Marks(cuda))
    knew = [batches_copied_out(cuda, launch, batch_of(*lengths)) for lengths in ([4], [9] * 50)]
    assert knew == [1, 2]  # the first needed a new slot, the second a larger buffer


def batches_copied_out(cuda, launch, batch):
    """How many earlier copies to the host the compute stream has waited for, while all batches are in flight."""
    launch(batch, Marks(cuda))
    return cuda.compute.knows.get("copy out", 0)


def test_the_number_of_kept_output_tensors_is_limited(cuda, monkeypatch):
    monkeypatch.setattr(output_buffers, "_MAX_SHAPES", 3)
    buffers = OutputBuffers(torch.device("cpu"), torch.cuda.Stream(None))
    first = buffers.pair(9, 4)
    for sequences in range(1, 9):
        pair = buffers.pair(sequences, 4)
        assert pair is buffers.pair(sequences, 4)
        assert pair.device.vectors.shape == (sequences, 4)
        assert len(buffers._pairs) <= 3
    assert buffers.pair(9, 4).device.memory.data_ptr() == first.device.memory.data_ptr()


def test_memory_that_outlives_a_forward_is_not_allocated_on_its_stream(cuda, launch, monkeypatch):
    made_on = []
    real = torch.empty

    def empty(*shape, **options):
        if "device" in options:
            made_on.append(torch.cuda.current_stream(options["device"]).cuda_stream)
        return real(*shape, **options)

    monkeypatch.setattr(torch, "empty", empty)
    expected = CpuLauncher(token_four_times)(batch_of(3, 5), RecordedBatch(0)).wait()
    assert torch.equal(launch(batch_of(3, 5), Marks(cuda)).wait(), expected)
    assert made_on == [COPY_IN, COPY_OUT]  # the pack, the vectors


def test_a_warm_replay_allocates_nothing(cuda, monkeypatch):
    launch = CudaLauncher(ReplayingModel(), torch.device("cpu"))
    sizes = [1, 2, 7, 30]
    for size in reversed(sizes):
        launch(batch_of(*[size] * size), TimestampedMarks(cuda)).wait()
    monkeypatch.setattr(torch, "empty", None)
    for size in sizes * 3:
        launch(batch_of(*[size] * size), TimestampedMarks(cuda)).wait()


def test_changes_to_the_vectors_after_a_replay_are_kept(cuda):
    class Shifting(ReplayingModel):
        def embed_sequences(self, *arguments):
            return super().embed_sequences(*arguments) + 1000

    launch = CudaLauncher(Shifting(), torch.device("cpu"))
    batch, timestamped, event_timed = batch_of(3, 5), TimestampedMarks(cuda), EventMarks(cuda)
    torch.testing.assert_close(launch(batch, timestamped).wait(), launch(batch, event_timed).wait())
    assert timestamped.timestamps == [(1000 * len(batch.tokens), 1000 * len(batch.tokens) + 7)]


def test_the_copy_stage_ends_before_the_model_is_called(cuda):
    class Asked(ReplayingModel):
        def embed_sequences(self, *arguments):
            assert marks.calls == ["h2d", "end_stage"]
            return super().embed_sequences(*arguments)

    marks = TimestampedMarks(cuda)
    CudaLauncher(Asked(), torch.device("cpu"))(batch_of(3), marks).wait()
    assert marks.calls[-2:] == ["d2h", "end_stage"]
