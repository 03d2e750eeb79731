# SPDX-License-Identifier: MIT
"""A job as a simulation: all work is done once, within the bounds of any list schedule."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.analysis.projection.rank_simulation import RankPace, ReadAhead, ShardWork, simulate_ranks

seconds = st.floats(0.01, 100.0)
works = st.builds(ShardWork, seconds, sequences=st.integers(1, 500), ranges=st.just(1)) | st.integers(1, 40).flatmap(
    lambda ranges: st.builds(ShardWork, seconds, st.integers(ranges, 500), st.just(ranges))
)
shard_lists = st.lists(works, min_size=1, max_size=60)
aheads = st.builds(ReadAhead, st.integers(0, 50), st.integers(1, 600))
paces = st.builds(RankPace, st.floats(0, 20), st.floats(0, 20), st.floats(0.5, 2))


@given(shard_lists, st.lists(paces, min_size=1, max_size=12), aheads)
def test_every_shard_is_run_once_and_no_time_is_lost(shards, ranks, ahead):
    run = simulate_ranks(shards, ranks, ahead)
    assert sorted(place for rank in run.ranks for place in rank.shards) == list(range(len(shards)))
    for pace, rank in zip(ranks, run.ranks, strict=True):
        work = math.fsum(shards[place].seconds for place in rank.shards)
        assert rank.busy_s == pytest.approx(pace.slowness * work)
        assert list(rank.claims_s) == sorted(rank.claims_s)
        assert all(pace.begin_s <= claim_s <= rank.end_s for claim_s in rank.claims_s)
        start_up_s = pace.start_up_s if rank.shards else 0.0
        assert rank.end_s == pytest.approx(pace.begin_s + start_up_s + rank.busy_s)
    assert 0 <= run.tail_share < 1


@given(shard_lists, paces, aheads)
def test_one_rank_takes_its_start_and_the_sum(shards, pace, ahead):
    run = simulate_ranks(shards, [pace], ahead)
    work = math.fsum(shard.seconds for shard in shards)
    assert run.seconds == pytest.approx(pace.start_up_s + pace.slowness * work)
    assert run.tail_share == 0


@given(shard_lists, st.integers(1, 20))
def test_a_job_is_between_its_share_of_the_work_and_one_shard_more(shards, count):
    """Graham 1966: no rank is idle while a shard is free, so the last one begins before the mean end."""
    run = simulate_ranks(shards, [RankPace()] * count)
    work, longest = math.fsum(shard.seconds for shard in shards), max(shard.seconds for shard in shards)
    assert max(work / count, longest) <= run.seconds * (1 + 1e-9)
    assert run.seconds <= (work / count + longest * (1 - 1 / count)) * (1 + 1e-9)
    assert run.idle_s <= (count - 1) * longest * (1 + 1e-9)


@given(shard_lists, st.integers(1, 12), aheads)
def test_reading_ahead_costs_at_most_what_the_last_rank_holds(shards, count, ahead):
    """No rank is idle while a shard is free, so the last one is claimed before the mean end."""
    run = simulate_ranks(shards, [RankPace()] * count, ahead)
    work = math.fsum(shard.seconds for shard in shards)
    last = max(run.ranks, key=lambda rank: rank.end_s)
    assert last.claims_s[-1] <= work / count * (1 + 1e-9)
    assert run.seconds >= work / count * (1 - 1e-9)


@given(seconds, st.integers(1, 60), st.integers(1, 20), aheads, st.integers(1, 30))
def test_more_ranks_are_never_slower_where_shards_are_equal(each, shards, count, ahead, ranges):
    equal = [ShardWork(each, 100, ranges)] * shards
    fewer, more = (simulate_ranks(equal, [RankPace()] * ranks, ahead) for ranks in (count, count + 1))
    assert more.seconds <= fewer.seconds * (1 + 1e-9)
    assert fewer.seconds == pytest.approx(math.ceil(shards / count) * each)


@given(shard_lists, st.integers(1, 12))
def test_one_rank_more_costs_at_most_a_shard_where_they_differ(shards, count):
    fewer, more = (simulate_ranks(shards, [RankPace()] * ranks) for ranks in (count, count + 1))
    assert more.seconds <= fewer.seconds + max(shard.seconds for shard in shards) * (1 + 1e-9)


def test_a_slow_rank_takes_fewer_shards():
    run = simulate_ranks([ShardWork(1.0)] * 30, [RankPace(), RankPace(), RankPace(slowness=4.0)])
    assert [len(rank.shards) for rank in run.ranks] == [13, 13, 4]
    assert run.seconds == pytest.approx(16.0)


def test_ranks_begin_at_places_of_their_own_and_go_around_the_end_of_the_file():
    run = simulate_ranks([ShardWork(1.0)] * 5, [RankPace(), RankPace(slowness=10.0)])
    assert [rank.shards for rank in run.ranks] == [(0, 1, 3, 4), (2,)]
    run = simulate_ranks([ShardWork(1.0)] * 5, [RankPace(begin_s=100.0), RankPace()])
    assert [rank.shards for rank in run.ranks] == [(), (2, 3, 4, 0, 1)]


def test_a_rank_that_reads_ahead_holds_a_shard_that_others_could_run():
    shards = [ShardWork(10.0, sequences=100, ranges=10)] * 4
    slow = [RankPace(), RankPace(slowness=3.0)]
    alone = simulate_ranks(shards, slow)
    assert [len(rank.shards) for rank in alone.ranks] == [3, 1]
    assert alone.seconds == pytest.approx(30.0)
    whole_shard_ahead = simulate_ranks(shards, slow, ReadAhead(10))
    assert [len(rank.shards) for rank in whole_shard_ahead.ranks] == [2, 2]
    assert whole_shard_ahead.seconds == pytest.approx(60.0)


@pytest.mark.parametrize(
    ("ahead", "claims"),
    [
        (ReadAhead(0), (5.0, 15.0, 25.0)),
        (ReadAhead(1), (5.0, 14.0, 24.0)),  # handed over: the last of ten ranges
        (ReadAhead(4), (5.0, 11.0, 21.0)),
        (ReadAhead(4, buffer_size=50), (5.0, 10.0, 20.0)),  # which is packed with those from the half on
        (ReadAhead(4, buffer_size=1000), (5.0, 5.0, 15.0)),
        (ReadAhead(14), (5.0, 5.0, 11.0)),
    ],
)
def test_a_rank_claims_when_its_loader_asks_for_more(ahead, claims):
    shards = [ShardWork(10.0, sequences=100, ranges=10)] * 3
    run = simulate_ranks(shards, [RankPace(begin_s=5.0)], ahead)
    assert run.ranks[0].claims_s == pytest.approx(claims)


def test_ranks_without_work_wait_from_their_start():
    run = simulate_ranks([ShardWork(10.0)], [RankPace(), RankPace(begin_s=2.0)])
    assert run.ranks[1].shards == ()
    assert run.idle_s == pytest.approx(8.0)
    assert run.tail_share == pytest.approx(8.0 / 20.0)


def test_no_ranks_are_refused():
    with pytest.raises(ValueError, match="no ranks to simulate"):
        simulate_ranks([ShardWork(1.0)], [])
