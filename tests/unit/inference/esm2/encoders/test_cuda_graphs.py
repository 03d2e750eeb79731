# SPDX-License-Identifier: MIT
"""When a forward is captured, replayed and captured again; the graphs themselves are tested on a GPU."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from tests.support.packed import RecordedBatch
from virnuc_profiler.inference.esm2.config import ARCHITECTURES, resolve_model_name
from virnuc_profiler.inference.esm2.encoders import cuda_graphs
from virnuc_profiler.inference.esm2.encoders.cuda_graphs import CudaGraphEncoder
from virnuc_profiler.inference.execution.stage_marks import StageMarks
from virnuc_profiler.inference.ops.pack import Pack

HIDDEN_SIZE = 8


class Encoder:
    """Counts its calls."""

    def __init__(self):
        self.weights = object()
        self.prepared = self.launched = 0

    def prepare(self, model):
        self.prepared += 1
        return self.weights

    def __call__(self, *_):
        raise AssertionError("graphs are not captured here")

    def pooled(self, model, tokens, pack, marks):
        marks.begin_pass(gapless=False)
        self.launched += 1
        return torch.ones(pack.num_sequences, HIDDEN_SIZE)


class Model:
    hidden_size = HIDDEN_SIZE
    architecture = ARCHITECTURES[resolve_model_name("8M")]


class Graph:
    """Stands in for a captured graph."""

    made: ClassVar[list[int]] = []
    fails = False

    def __init__(self, encode, size, device, pool):
        self.made.append(size.tokens)
        self.on_capture()
        if self.fails:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.replays = 0

    def on_capture(self):
        pass

    def encode(self, tokens, pack):
        self.replays += 1
        return torch.full((pack.total_tokens, HIDDEN_SIZE), 2.0)

    def load(self, tokens, pack, vectors=None, timestamps=None):
        self.vectors = vectors

    def replay(self):
        self.replays += 1
        self.vectors.fill_(2.0)


@pytest.fixture
def encoder():
    return Encoder()


@pytest.fixture
def graphs(encoder, monkeypatch):
    monkeypatch.setattr(Graph, "made", [])
    monkeypatch.setattr(cuda_graphs, "CapturedGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    return CudaGraphEncoder(encoder)


def embed(graphs, tokens, marks=None):
    """The vectors' value, 1 if launched and 2 if replayed, and the stages that were marked."""
    marks = marks or RecordedBatch(0)
    pack = Pack(tokens, torch.tensor([0, tokens], dtype=torch.int32), tokens)
    vectors = graphs.pooled(Model(), torch.zeros(tokens, dtype=torch.uint8), pack, StageMarks(marks, None))
    assert vectors.shape == (1, HIDDEN_SIZE)
    return vectors[0, 0].item(), marks.calls


def test_each_size_is_captured_when_it_comes_for_the_second_time(graphs, encoder):
    sizes = [100, 200, 300, 400]
    for size in sizes:
        assert embed(graphs, size) == (1, ["forward"])
    assert encoder.launched == 4
    for size in sizes:
        assert embed(graphs, size) == (2, ["forward"])
    assert encoder.launched == 4
    assert Graph.made == [128, 256, 384, 512]
    for size in sizes:
        assert embed(graphs, size) == (2, ["forward"])
    assert len(Graph.made) == 4


def test_a_capture_is_not_part_of_the_forward(graphs, monkeypatch):
    marks = RecordedBatch(0)
    monkeypatch.setattr(Graph, "on_capture", lambda self: marks.calls.append("capture"))
    embed(graphs, 100)
    assert embed(graphs, 100, marks) == (2, ["capture", "forward"])


def test_changed_weights_are_noticed_at_the_next_pack(graphs, encoder):
    for _ in range(3):
        embed(graphs, 100)
    assert embed(graphs, 100)[0] == 2
    encoder.weights = object()
    assert embed(graphs, 100) == (2, ["forward"])  # captured again
    assert embed(graphs, 100) == (2, ["forward"])
    assert Graph.made == [128, 128]
    assert encoder.launched == 1


def test_a_size_without_memory_is_launched_and_not_captured_again(graphs, monkeypatch):
    monkeypatch.setattr(Graph, "fails", True)
    assert [embed(graphs, 100)[0] for _ in range(5)] == [1] * 5
    assert Graph.made == [128]


def test_a_replay_checks_the_weights_once(graphs, encoder):
    for _ in range(2):
        embed(graphs, 100)
    before = encoder.prepared
    for _ in range(10):
        embed(graphs, 100)
    assert encoder.prepared - before == 10


def test_packs_that_take_the_device_a_long_time_are_launched(graphs):
    assert [embed(graphs, 200_000)[0] for _ in range(3)] == [1] * 3
    assert Graph.made == []


def test_a_release_resets_the_seen_sizes(graphs):
    for _ in range(2):
        embed(graphs, 100)
    graphs.release()
    assert [embed(graphs, 100)[0] for _ in range(2)] == [1, 2]
