# SPDX-License-Identifier: MIT
"""How many actors there are, and what happens to a rank that is lost, on a cluster that is only pretended."""

from dataclasses import replace

import pytest

from tests.support.pretended_ray import Failed, Lost, PretendedCluster, ended
from virnuc_profiler.embed.on_ray.actor_pool import ActorPool, PoolPlan
from virnuc_profiler.embed.on_ray.node_check import NodeProbe
from virnuc_profiler.embed.on_ray.rank_actor import Ended, Line
from virnuc_profiler.errors import UsageError
from virnuc_profiler.ranks.local_launcher import MAX_RESTARTS

LOSE_ACTOR, LOSE_NODE = PretendedCluster.LOSE_ACTOR, PretendedCluster.LOSE_NODE


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.setattr("virnuc_profiler.embed.on_ray.actor_pool._GROW_S", 0.0)
    probe = NodeProbe(tmp_path, "token", tmp_path / "a.faa", 0)
    return PoolPlan(["-m", "a_rank"], probe, max_actors=3, elastic=False, use_gpus=False)


def run(cluster, plan):
    lines, sentences = [], []
    pool = ActorPool(cluster, plan, lambda rank, line: lines.append((rank, line.text)), sentences.append)
    pool.run()
    return pool, lines, sentences


def ranks(cluster):
    return [(rank, count, attempt) for rank, count, _, attempt in cluster.started]


def test_as_many_actors_as_were_asked_for(plan):
    cluster = PretendedCluster([2, 2], lambda rank, attempt: [Line(f"I am {rank}", False), Ended(0)])
    pool, lines, sentences = run(cluster, plan)
    assert pool.succeeded
    assert ranks(cluster) == [(0, 3, 0), (1, 3, 0), (2, 3, 0)]
    assert sorted(lines) == [(rank, f"I am {rank}") for rank in range(3)]
    assert sentences == []
    assert not any(actor.alive for actor in cluster.actors)


def test_actors_without_a_place_wait_and_do_not_hold_up_the_end(plan):
    cluster = PretendedCluster([1], lambda rank, attempt: ended(0))
    pool, _, sentences = run(cluster, plan)
    assert pool.succeeded
    assert ranks(cluster) == [(0, 3, 0)]
    assert sentences == ["the cluster has room for 1 of 3 actors now; the others wait for machines"]


def test_an_elastic_pool_asks_for_as_many_again_as_there_are_places(plan):
    def script(rank, attempt):
        if rank == 0:
            yield Line("a machine joins", False)
            cluster.places["another"] = 2
            yield from [Line("works", False)] * 5
        yield Ended(0)

    cluster = PretendedCluster([1], script)
    pool, _, sentences = run(cluster, replace(plan, max_actors=100, elastic=True))
    assert pool.succeeded
    assert sorted(ranks(cluster)) == [(0, 1, 0), (1, 2, 0), (2, 3, 0)]
    assert cluster.most_waiting <= 5
    assert sentences == []


def test_there_are_no_more_actors_than_shards(plan):
    cluster = PretendedCluster([8], lambda rank, attempt: ended(0))
    run(cluster, replace(plan, elastic=True))
    assert len(cluster.actors) == 3


def test_another_actor_takes_the_place_of_one_that_was_killed(plan):
    cluster = PretendedCluster([3], None)
    cluster.script = lambda rank, attempt: (
        [LOSE_ACTOR] if (rank, attempt) == (1, 0) else [*[Line("works", False)] * 9, Ended(0)]
    )
    pool, _, sentences = run(cluster, plan)
    assert pool.succeeded
    assert (1, 3, 1) in ranks(cluster)
    assert len({job for _, _, job, _ in cluster.started}) == 1, "it may take over what the killed one has claimed"
    assert sentences == ["rank 1 was lost, since its actor on node0 was killed; another actor takes its place"]


def test_the_rank_of_a_lost_node_is_followed_by_one_that_waits_for_its_lease(plan):
    def script(rank, attempt):
        if rank == 2 and "node1" in cluster.places:
            yield LOSE_NODE
        cluster.places["node2"] = 1
        yield from [Line("works", False)] * 9
        yield Ended(0)

    cluster = PretendedCluster([2, 2], script)
    pool, _, sentences = run(cluster, plan)
    assert pool.succeeded
    assert sentences == ["rank 2 was lost, since node node1 is gone; another actor takes its place"]
    assert ranks(cluster) == [(0, 3, 0), (1, 3, 0), (2, 3, 0), (2, 3, 0)]
    first, second = (job for rank, _, job, _ in cluster.started if rank == 2)
    assert first != second, "what still runs on the node keeps its claims until its lease is over"


def test_a_rank_that_kills_every_actor_fails_in_the_end(plan):
    cluster = PretendedCluster([3], lambda rank, attempt: [LOSE_ACTOR])
    pool, _, sentences = run(cluster, replace(plan, max_actors=1))
    assert not pool.succeeded
    assert pool.failures == [(1, "its actor on node0 was killed again")]
    assert len(cluster.started) == len(sentences) + 1 == MAX_RESTARTS + 1


def test_a_rank_that_a_signal_killed_is_started_again_in_its_actor(plan):
    cluster = PretendedCluster([1], lambda rank, attempt: ended(0 if attempt else -9))
    pool, _, sentences = run(cluster, replace(plan, max_actors=1))
    assert pool.succeeded
    assert ranks(cluster) == [(0, 1, 0), (0, 1, 1)]
    assert len(cluster.actors) == 1
    assert sentences == ["rank 0 was killed by SIGKILL, and is started again"]


def test_the_error_of_a_rank_is_kept_and_the_others_go_on(plan):
    error = Line("virnuc-profiler: error: the disk is full", True)
    cluster = PretendedCluster([3], None)
    cluster.script = lambda rank, attempt: [error, Ended(1)] if rank == 1 else [*[Line("works", False)] * 9, Ended(0)]
    pool, lines, sentences = run(cluster, plan)
    assert pool.succeeded
    assert pool.failures == [(1, "the disk is full")]
    assert sentences == []
    assert [line for line in lines if "disk" in line[1]] == [(1, "failed, and 2 others go on: the disk is full")]


def test_when_all_ranks_fail_no_more_are_started(plan):
    cluster = PretendedCluster([2], lambda rank, attempt: ended(2))
    pool, _, _ = run(cluster, replace(plan, max_actors=50, elastic=True))
    assert not pool.succeeded
    assert len(cluster.started) == len(pool.failures) == 2


def test_a_node_with_a_problem_is_said_before_anything_runs(plan):
    cluster = PretendedCluster([1, 1], lambda rank, attempt: ended(0), problem="b does not see the files")
    with pytest.raises(UsageError, match=r"^node b does not see the files$"):
        run(cluster, plan)
    assert not cluster.actors


def test_a_node_that_cannot_import_this_package_is_named(plan):
    cluster = PretendedCluster([1], lambda rank, attempt: ended(0), problem=Failed("No module named 'virnuc_profiler'"))
    with pytest.raises(UsageError, match=r"node node0 cannot run virnuc_profiler .*: install the same version of it"):
        run(cluster, plan)


def test_a_node_that_is_lost_before_it_answers_is_no_problem(plan):
    cluster = PretendedCluster([1], lambda rank, attempt: ended(0), problem=Lost())
    assert run(cluster, plan)[0].succeeded


def test_a_stop_signal_reaches_every_rank_and_its_end_is_waited_for(plan):
    class Stopped(Exception):
        pass

    def script(rank, attempt):
        yield Line("works", False)
        if rank == 2:
            raise Stopped  # in the place of Ctrl-C, while the pool waits
        yield Line("ends", False)
        yield Ended(1)

    cluster = PretendedCluster([3], script)
    lines = []
    pool = ActorPool(cluster, plan, lambda rank, line: lines.append((rank, line.text)), print)
    with pytest.raises(Stopped):
        pool.run()
    cluster.script = None
    pool._running = {run: rank for run, rank in pool._running.items() if rank.index != 2}
    pool.stop(2)
    assert [actor.stopped for actor in cluster.actors] == [[2], [2], []]
    assert {(0, "ends"), (1, "ends")} <= set(lines)
    assert pool.running == 0
