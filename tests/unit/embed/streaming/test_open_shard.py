import numpy as np
import pytest
import torch

from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.embed.streaming.open_shard import OpenShard
from virnuc_profiler.inference.batches import InferenceResult

SHARD = Shard(2, 10, 14, 100, 1)


def result(positions, rows):
    return InferenceResult([""] * len(positions), torch.tensor(rows), 0, np.array(positions))


def test_each_vector_finds_its_row():
    shard = OpenShard(SHARD, 2, "fp32")
    shard.add(result([12, 10], [[3.0, 3.5], [1.0, 1.5]]))
    assert not shard.complete
    shard.add(result([11, 13], [[2.0, 2.5], [4.0, 4.5]]))
    assert shard.complete
    np.testing.assert_array_equal(shard.vectors, [[1, 1.5], [2, 2.5], [3, 3.5], [4, 4.5]])
    assert shard.vectors.dtype == np.float32


@pytest.mark.parametrize("positions", [[9], [14], [12]])
def test_a_sequence_of_another_shard_or_one_that_came_twice_is_refused(positions):
    shard = OpenShard(SHARD, 2, "fp32")
    shard.add(result([12], [[0.0, 0.0]]))
    with pytest.raises(RuntimeError, match="not of shard 2, or came twice"):
        shard.add(result(positions, [[0.0, 0.0]]))


def test_numbers_beyond_fp16_are_counted():
    shard = OpenShard(SHARD, 2, "fp16")
    shard.add(result([10, 11, 12, 13], [[1.0, 2.0], [1e6, 0.0], [0.1, float("nan")], [0.0, 0.0]]))
    assert shard.non_finite == 2
    assert shard.vectors.dtype == np.float16
    assert shard.vectors[0].tolist() == [1.0, 2.0]


def test_residues_lie_sequence_after_sequence_without_bos_and_eos():
    shard = OpenShard(SHARD, 1, "fp32", np.array([1, 3, 2, 1]))
    tokens = [[-1.0], [20.0], [21.0], [-2.0], [-1.0], [0.0], [-2.0]]  # of the sequences 12 and 10
    shard.add(result([12, 10], [[5.0], [6.0], *tokens]))
    tokens = [[-1.0], [10.0], [11.0], [12.0], [-2.0], [-1.0], [30.0], [-2.0]]
    shard.add(result([11, 13], [[7.0], [8.0], *tokens]))
    assert shard.vectors[:, 0].tolist() == [6, 7, 5, 8]
    assert shard.residues[:, 0].tolist() == [0, 10, 11, 12, 20, 21, 30]
    assert shard.offsets.tolist() == [0, 1, 4, 6, 7]
