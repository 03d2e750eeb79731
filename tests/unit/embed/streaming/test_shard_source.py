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


def test_a_process_with_many_workers_holds_few_shards_that_others_could_run():
    shards = [Shard(number, 1000 * number, 1000 * number + 1000, CHUNK_TOKENS, 1) for number in range(8)]
    source = ShardSource(LocalQueue(shards), ahead=16)
    ranges = iter(source)
    read_ahead = [next(ranges) for _ in range(16)]
    assert len(source.claimed) == 2
    assert [one.flush for one in read_ahead] == [*[False] * 7, True] * 2
    assert len(list(ShardSource(LocalQueue(SHARDS[1:]), ahead=16))) == 1, "a small shard is one message"
