# SPDX-License-Identifier: MIT
"""Ranks divide the shards of a job among themselves, and take over what a lost one has not finished."""

import pytest

from virnuc_profiler.embed.claimed_shards import ClaimedShards, unique_name
from virnuc_profiler.embed.manifest.manifest_files import Manifest
from virnuc_profiler.embed.manifest.shard_record import ShardRecord
from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.ranks.claim_folder import ClaimFolder
from virnuc_profiler.ranks.rank import Rank

SHARDS = tuple(Shard(number, 10 * number, 10 * number + 10, 100, 1000) for number in range(8))


class Process:
    """A rank of two, with its claims, its manifest and its view of the job."""

    def __init__(self, folder, index, pause=lambda seconds: pytest.fail("nothing to wait for")):
        self.rank = Rank(index=index, count=2)
        self.claims = ClaimFolder(folder / "claims", self.rank)
        self.name = unique_name(self.claims, self.rank)
        self.manifest = Manifest(folder, self.name)
        self.queue = ClaimedShards(folder, self.claims, SHARDS, self.rank, pause)

    def finish(self, shard):
        record = ShardRecord(
            shard=shard.number, start=shard.start, stop=shard.stop, tokens=shard.tokens, files=(), non_finite=0,
            rank=self.name, finished_at="2026-01-01T00:00:00+00:00",
        )  # fmt: skip
        self.manifest.add(record)
        self.queue.finished(shard)

    def run(self):
        numbers = []
        while (shard := self.queue.claim()) is not None:
            self.finish(shard)
            numbers.append(shard.number)
        return numbers

    def end(self):
        self.manifest.close()
        self.claims.close()


@pytest.fixture
def processes(tmp_path):
    started = []

    def start(index, **options):
        started.append(Process(tmp_path, index, **options))
        return started[-1]

    yield start
    for process in started:
        process.claims.close()


def test_one_process_does_all_in_the_order_of_the_file(processes):
    process = processes(0)
    assert process.run() == list(range(8))
    assert process.queue.wait() is False


def test_two_processes_begin_at_different_places_and_share_the_rest(processes):
    one, other = processes(0), processes(1)
    first, second = one.queue.claim(), other.queue.claim()
    assert (first.number, second.number) == (0, 4)
    one.finish(first)
    assert one.run() == [1, 2, 3, 5, 6, 7], "a free rank takes what a slow one has not begun"
    other.finish(second)
    assert other.run() == []
    assert (one.queue.wait(), other.queue.wait()) == (False, False)


def test_what_is_finished_is_not_done_again(processes):
    before = processes(0)
    for _ in range(3):
        before.finish(before.queue.claim())
    before.end()
    assert processes(1).run() == [4, 5, 6, 7, 3]


def test_a_waiting_rank_takes_over_what_a_lost_one_had_begun(processes):
    lost = processes(1)
    lost.finish(lost.queue.claim())
    begun = lost.queue.claim()
    waits = []
    rank = processes(0, pause=lambda seconds: (waits.append(seconds), lost.end()))
    assert begun.number not in rank.run()
    assert rank.queue.wait() is True
    assert len(waits) == 1
    assert rank.queue.claim() == begun
    rank.finish(begun)
    assert rank.queue.wait() is False


def test_a_waiting_rank_ends_when_the_others_have_finished(processes):
    slow = processes(1)
    begun = slow.queue.claim()
    rank = processes(0, pause=lambda seconds: slow.finish(begun))
    rank.run()
    assert rank.queue.wait() is False


def test_what_its_holder_finished_before_it_was_lost_is_not_taken_over(processes):
    """The holder ends between our look at the manifests and our claim."""
    rank, other = processes(0), processes(1)
    begun = other.queue.claim()
    other.finish(begun)
    other.end()
    assert begun.number not in rank.run()
    assert rank.queue.wait() is False


def test_ranks_wait_for_each_other_without_a_deadlock(processes):
    """Each has done all that was free, and looks for what the other may lose."""
    one, other = processes(0), processes(1)
    mine, yours = one.queue.claim(), other.queue.claim()
    other.run()
    one.finish(mine)
    other.finish(yours)
    assert (one.queue.wait(), other.queue.wait()) == (False, False)


def test_two_starts_of_one_command_have_different_names(processes):
    assert [processes(0).name for _ in range(3)] == ["0of2", "0of2_2", "0of2_3"]


def test_the_name_of_a_process_that_has_ended_is_free(processes):
    processes(0).end()
    assert processes(0).name == "0of2"
