# SPDX-License-Identifier: MIT
"""The documented table of the targets says what the code says."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from virnuc_profiler.targets.registry import TARGETS

PAGE = Path(__file__).parents[4] / "docs" / "tune-your-runner.md"
ROWS = dict(re.findall(r"^\| `([\w-]+)` \| .* \| (\d+) lines \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_target_has_a_row():
    assert set(ROWS) == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_the_lines_of_an_adapter_are_those_of_its_file(target):
    module = TARGETS[target].factory.partition(":")[0]
    assert int(ROWS[target]) == len(Path(find_spec(module).origin).read_text(encoding="utf-8").splitlines())
