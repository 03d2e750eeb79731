from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.embed.shard_queue import LocalQueue
from virnuc_profiler.embed.streaming.shard_source import CHUNK_TOKENS, ShardSource

SHARDS = [Shard(0, 0, 100, 4 * CHUNK_TOKENS, 1), Shard(1, 100, 103, 50, 1)]


def test_a_shard_is_claimed_when_it_is_read():
    source = ShardSource(LocalQueue(SHARDS))
    ranges = iter(source)
    assert next(ranges) == (0, 25, False)
    assert list(source.claimed) == SHARDS[:1]
    assert [tuple(one) for one in ranges] == [(25, 50, False), (50, 75, False), (75, 100, True), (100, 103, True)]
    assert list(source.claimed) == SHARDS


def test_a_closed_source_ends_after_its_shard_and_goes_on_when_it_is_reopened():
    source = ShardSource(LocalQueue(SHARDS))
    ranges = iter(source)
    next(ranges)
    source.close()
    assert source.closed
    assert len(list(ranges)) == 3
    source.reopen()
    assert [tuple(one) for one in source] == [(100, 103, True)]
