# SPDX-License-Identifier: MIT
"""The error of ``compare`` on equal builds, with fewer replays than the benchmark has."""

import math

import pytest
from benchmarks.comparison_errors import shares

REPLAYS = 300


@pytest.mark.parametrize("noise", ["1 % run noise", "two modes"])
@pytest.mark.parametrize("way", ["one run against 6", "6 runs against 6", "sweeps of 9 configurations"])
def test_equal_builds_are_seldom_called_different(way, noise):
    different, _ = shares(way, noise, REPLAYS)
    assert different <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / REPLAYS)


def test_repeats_find_a_slower_build():
    _, found = shares("6 runs against 6", "1 % run noise", REPLAYS)
    assert found >= 0.9
