# SPDX-License-Identifier: MIT
"""Predicted times in the unit that suits them."""

import pytest

from virnuc_profiler.reports.html.predicted_time import time_fact, unit_of


@pytest.mark.parametrize(
    ("hours", "low", "high", "expected"),
    [
        (3.68, 3.59, 3.78, ("3.68 hours", "3.59 to 3.78")),
        (0.0484, 0.040, 0.059, ("2.90 minutes", "2.4 to 3.6")),
        (0.001, None, None, ("3.60 seconds", "")),
        (None, None, None, ("n/a", "")),
    ],
)
def test_a_time_and_its_interval_have_the_same_unit(hours, low, high, expected):
    assert time_fact(hours, low, high) == expected


def test_the_borders_between_units():
    assert [unit_of(seconds).short for seconds in (0, 59.9, 60, 3599, 3600)] == ["s", "s", "min", "min", "h"]
