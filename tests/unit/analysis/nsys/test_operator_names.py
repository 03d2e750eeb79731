# SPDX-License-Identifier: MIT
"""Operators from the names that PyTorch gives to ranges."""

import pytest

from tests.support.nsys_files import THREAD
from virnuc_profiler.analysis.nsys.gpu_capture import Ranges
from virnuc_profiler.analysis.nsys.gpu_records import NvtxRange
from virnuc_profiler.analysis.nsys.operator_names import name_by_operator, operator_of


@pytest.mark.parametrize(
    ("name", "operator"),
    [
        ("aten::copy_, op_id = 317175", "aten::copy_"),
        ("aten::mm, seq = 8, op_id = 12", "aten::mm"),
        ("aten::mm, seq = 8, op_id = 12, sizes = [[2, 3], [], [3]]", "aten::mm"),
        ("aten::mm, op_id = 1, sizes = [[2]], input_op_ids = [(3,0),(-1, 2)]", "aten::mm"),
        ("MmBackward0, stashed seq=5", "MmBackward0"),
        ("FSDP::pre_forward (encoder.block.2.layer.1), op_id = 9", "FSDP::pre_forward (encoder.block.2.layer.1)"),
        ("ProfilerStep#12", "ProfilerStep"),
        ("batch 3", "batch 3"),
        ("forward", "forward"),
        ("", ""),
        (", op_id = 3", ", op_id = 3"),
        ("load, op_id = 3, then more", "load, op_id = 3, then more"),
        ("step, op_id = x", "step, op_id = x"),
    ],
)
def test_numbers_of_pytorch_are_taken_off_and_nothing_else(name, operator):
    assert operator_of(name) == operator


def test_a_long_hostile_name_takes_one_pass():
    name = "x" + ", op_id = 1, sizes = [" * 200_000 + "x"
    assert operator_of(name) == name


def test_ranges_keep_everything_but_their_names():
    names = ["a, op_id = 1", "a, op_id = 2", "b", "a"]
    ranges = Ranges.from_records(NvtxRange("b", name, at, THREAD, at, at + 1) for at, name in enumerate(names))
    by_operator = name_by_operator(ranges)
    assert [one.name for one in by_operator] == ["a", "a", "b", "a"]
    assert [one._replace(name="") for one in by_operator] == [one._replace(name="") for one in ranges]
