# SPDX-License-Identifier: MIT
import pytest

from virnuc_profiler.reports.figures import number, words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (12_345.67, "12,345.7 s"),
        (-(10**15), "-1.000e+15 s"),
        (10**400, "more than 1e308 s"),
        (-(10**400), "less than -1e308 s"),
    ],
)
def test_every_number_that_a_file_can_hold_has_a_text(value, text):
    assert number(value, 1, " s") == text


def test_values_of_knobs_read_as_on_the_command_line():
    assert [words(value) for value in (True, False, 8, "fast", None)] == ["true", "false", "8", "fast", "n/a"]
