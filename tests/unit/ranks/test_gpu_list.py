# SPDX-License-Identifier: MIT
"""``--gpus all|N|0,2``: which entries of CUDA_VISIBLE_DEVICES the ranks get."""

import pytest

from virnuc_profiler.errors import UsageError
from virnuc_profiler.ranks.gpu_list import choose_gpus, visible_entries

FOUR = ["GPU-a", "GPU-b", "GPU-c", "GPU-d"]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [("all", FOUR), ("2", FOUR[:2]), ("4", FOUR), ("0,2", ["GPU-a", "GPU-c"]), ("3,1", ["GPU-d", "GPU-b"]),
     ("2,", ["GPU-c"])],
)  # fmt: skip
def test_gpus(request_, expected):
    assert choose_gpus(request_, FOUR) == expected


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("5", "--gpus 5 is a number of GPUs, and this process sees 4 GPUs, 0 to 3"),
        ("0", "--gpus 0 is a number of GPUs"),
        ("0,4", "--gpus 0,4 names GPU 4, and this process sees 4 GPUs, 0 to 3"),
        ("1,1", "--gpus 1,1 names a GPU twice"),
        ("cuda:0", "--gpus 'cuda:0' is not all, a number of GPUs, or a list of them such as 0,2"),
        ("-1", "--gpus '-1' is not all"),
    ],
)
def test_what_is_not_there_is_one_sentence(request_, message):
    with pytest.raises(UsageError) as failure:
        choose_gpus(request_, FOUR)
    assert str(failure.value).startswith(message)


def test_without_a_gpu_the_way_out_is_named():
    with pytest.raises(UsageError, match=r"--gpus all: this process sees no GPU; see virnuc-profiler doctor"):
        choose_gpus("all", [])


def test_devices_are_named_by_their_uuids():
    assert visible_entries(None, FOUR) == FOUR
    assert visible_entries("2,3", FOUR[2:]) == FOUR[2:]
    assert visible_entries("MIG-a", ["MIG-a"]) == ["MIG-a"]


def test_mig_instances_are_known_from_the_variable_because_a_process_sees_only_one():
    assert visible_entries("MIG-a, MIG-b", ["MIG-a"]) == ["MIG-a", "MIG-b"]
