# SPDX-License-Identifier: MIT
"""The GPUs of the ranks of a host, through the stand-in driver: each has its own, and says which."""

import re
from typing import Any

from tests.support.standin import MIG_UUID, CudaControl, Standins
from virnuc_profiler.capture.target import visible_uuids
from virnuc_profiler.cli.options.rank_options import describe_rank
from virnuc_profiler.ranks.gpu_list import choose_gpus, visible_entries
from virnuc_profiler.ranks.rank import Rank
from virnuc_profiler.ranks.rank_device import device_of_rank


def four_ranks_on_four_gpus() -> list[Any]:
    CudaControl().set_devices(4)
    ranks = [
        Rank(index=4 + place, count=8, local_index=place, local_count=4, launcher="torchrun") for place in range(4)
    ]
    return [visible_uuids(), [describe_rank(rank, device_of_rank(rank, "auto", 4)) for rank in ranks]]


def two_gpus_of_four() -> list[Any]:
    CudaControl().set_devices(4)
    return [visible_uuids(), choose_gpus("2,0", visible_entries(None, visible_uuids()))]


def one_mig_instance() -> list[Any]:
    CudaControl().set_devices(1, mig=True)
    return choose_gpus("all", visible_entries(None, visible_uuids()))


def test_each_rank_of_a_host_says_which_gpu_is_its_own(standins: Standins) -> None:
    uuids, lines = standins.call(four_ranks_on_four_gpus)
    assert len(set(uuids)) == 4
    for place, (uuid, line) in enumerate(zip(uuids, lines, strict=True)):
        assert re.fullmatch(rf"Rank {4 + place} of 8 \(torchrun\) on .*: cuda:{place}, .* \({re.escape(uuid)}\)", line)


def test_ranks_are_given_gpus_by_their_uuids(standins: Standins) -> None:
    uuids, chosen = standins.call(two_gpus_of_four)
    assert chosen == [uuids[2], uuids[0]]


def test_a_rank_is_given_a_mig_instance_by_its_uuid(standins: Standins) -> None:
    assert standins.call(one_mig_instance) == [MIG_UUID]
