# SPDX-License-Identifier: MIT
"""Each rank of a host has a GPU of its own, or an error that says how to start the ranks."""

import pytest

from virnuc_profiler.errors import UsageError
from virnuc_profiler.ranks.rank import Rank
from virnuc_profiler.ranks.rank_device import device_of_rank


def ranks(local_count, **options):
    return [
        Rank(index=8 + place, count=32, local_index=place, local_count=local_count, launcher="torchrun", **options)
        for place in range(local_count)
    ]


def test_ranks_of_a_host_take_different_gpus():
    assert [device_of_rank(rank, "auto", 4) for rank in ranks(4)] == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert [device_of_rank(rank, "cuda", 4) for rank in ranks(2)] == ["cuda:0", "cuda:1"]


def test_a_rank_that_is_alone_on_its_host_takes_what_was_asked_for():
    assert device_of_rank(Rank(), "auto", 4) == "auto"
    assert device_of_rank(ranks(1)[0], "cuda:3", 4) == "cuda:3"


def test_without_gpus_ranks_share_the_cpu():
    assert [device_of_rank(rank, "auto", 0) for rank in ranks(2)] == ["cpu", "cpu"]
    assert [device_of_rank(rank, "cpu", 4) for rank in ranks(2)] == ["cpu", "cpu"]


def test_devices_that_the_launcher_has_given_to_each_rank_are_not_chosen_again():
    assert [device_of_rank(rank, "auto", 1) for rank in ranks(4, owns_devices=True)] == ["auto"] * 4


def test_more_ranks_than_gpus_are_refused_unless_they_may_share():
    with pytest.raises(UsageError, match=r"4 ranks on this host, but only 2 GPUs are visible for them: start 2 ranks"):
        device_of_rank(ranks(4)[0], "auto", 2)
    assert [device_of_rank(rank, "auto", 2, share=True) for rank in ranks(4)] == ["cuda:0", "cuda:1"] * 2


def test_one_device_for_all_ranks_is_refused():
    with pytest.raises(UsageError, match=r"--device cuda:1 would give all 2 ranks of this host one GPU: leave it out"):
        device_of_rank(ranks(2)[0], "cuda:1", 2)
