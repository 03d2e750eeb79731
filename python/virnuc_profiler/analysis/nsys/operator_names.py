# SPDX-License-Identifier: MIT
"""Names of operators, from the names that PyTorch gives to NVTX ranges.

``torch.autograd.profiler.emit_nvtx`` appends numbers that differ from call to call to the name of an operator, such as
``aten::copy_, seq = 8, op_id = 317175, sizes = [[2, 3], []]``, and ``torch.profiler`` numbers its steps.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

import numpy as np

from virnuc_profiler.analysis.nsys.gpu_capture import Codes, Ranges

_NUMBER: Final = r"(?:op_id|(?:stashed )?seq) ?= ?-?\d+"
_LIST: Final = r"(?:sizes|input_op_ids) ?= ?\[[][(), \d-]*"
_FIRST: Final = re.compile(f", (?:{_NUMBER}|{_LIST})")
_SUFFIX: Final = re.compile(f"(?:, (?:{_NUMBER}|{_LIST}))+")
_STEP: Final = re.compile(r"(ProfilerStep)#\d+")


def operator_of(name: str) -> str:
    """Return the name of a range without the numbers that PyTorch appended; other names are returned as they are.

    Args:
        name: Name of a range.
    """
    step = _STEP.fullmatch(name)
    if step:
        return step[1]
    first = _FIRST.search(name)
    if first is None or first.start() == 0 or not _SUFFIX.fullmatch(name, first.start()):
        return name
    return name[: first.start()]


def name_by_operator(ranges: Ranges) -> Ranges:
    """Return the same ranges, named by their operators.

    Args:
        ranges: Ranges of a capture.
    """
    names, position = list(ranges.names), dict[str, int]()
    code_of: Codes = np.arange(len(names), dtype=np.int32)
    for code in np.unique(ranges.name).tolist():
        operator = operator_of(names[code])
        if operator not in position:
            position[operator] = code if operator == names[code] else len(names)
            names += [operator] if operator != names[code] else []
        code_of[code] = position[operator]
    return replace(ranges, names=tuple(names), name=code_of[ranges.name])
