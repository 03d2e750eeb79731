import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.analysis.model_cost import ModelShape, forward_flops
from virnuc_profiler.embed.shard_plan import MAX_RESIDUE_BYTES, MAX_VECTOR_BYTES, plan_shards, resolve_num_shards

SHAPE = ModelShape(6, 320)


@given(st.lists(st.integers(3, 1024), min_size=1, max_size=300), st.data())
def test_shards_cover_every_sequence_once_and_balance_the_cost(lengths, data):
    tokens = np.array(lengths, dtype=np.int64)
    count = data.draw(st.integers(1, len(lengths)))
    shards = plan_shards(tokens, SHAPE, count)
    assert [shard.number for shard in shards] == list(range(count))
    assert [shard.start for shard in shards] == [0, *(shard.stop for shard in shards[:-1])]
    assert shards[-1].stop == len(lengths)
    assert all(shard.num_sequences >= 1 for shard in shards)
    costs = [
        forward_flops(sum(part), sum(n * n for n in part), SHAPE)
        for part in (lengths[shard.start : shard.stop] for shard in shards)
    ]
    assert [shard.cost for shard in shards] == costs
    assert [shard.tokens for shard in shards] == [sum(lengths[shard.start : shard.stop]) for shard in shards]


def test_no_shard_of_a_large_file_is_far_from_the_mean_cost():
    tokens = np.random.default_rng(0).integers(3, 1025, 50_000)
    costs = np.array([shard.cost for shard in plan_shards(tokens, SHAPE, 100)])
    assert abs(costs / costs.mean() - 1).max() < 0.02


def test_the_plan_depends_on_the_file_alone():
    tokens = np.random.default_rng(1).integers(3, 1025, 1_000)
    assert plan_shards(tokens, SHAPE, 37) == plan_shards(tokens.copy(), SHAPE, 37)


@pytest.mark.parametrize("count", [0, 4])
def test_more_shards_than_sequences_are_refused(count):
    with pytest.raises(ValueError, match=f"num_shards is {count}"):
        plan_shards(np.array([5, 5, 5]), SHAPE, count)


def test_shards_are_small_enough_for_memory():
    tokens = np.full(1_000_000, 52)
    count = resolve_num_shards(tokens, 5120, 10**9)
    assert len(tokens) / count * 5120 * 4 <= MAX_VECTOR_BYTES
    count = resolve_num_shards(tokens, 320, 10**9, per_residue=True)
    assert tokens.sum() / count * 320 * 4 <= MAX_RESIDUE_BYTES


def test_shards_are_large_enough_to_be_packed_well():
    assert resolve_num_shards(np.full(1_000, 100), 320, token_budget=4096) == 1
    assert resolve_num_shards(np.full(20_000, 100), 320, token_budget=4096) == 15
