# SPDX-License-Identifier: MIT
"""Numbers are printed with the digits that decided something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.telemetry.number_text import (
    between,
    counted,
    hours,
    limit,
    number,
    percent,
    rate,
    share,
    times,
    with_interval,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rate(0.04), "0.0400"),
        (rate(9.2), "9.20"),
        (rate(454.82), "454.8"),
        (rate(0.0), "0.0"),
        (rate(3e-12), "3.00e-12"),
        (rate(None), "n/a"),
        (percent(0.0123), "0.0123%"),
        (share(1), "100.0%"),
        (times(1.2), "1.20x"),
        (times(0.9996), "0.9996x"),
        (hours(10.0004, beside=10), "10.0004 h"),
        (hours(10.000000000001, beside=10), "10.00 h"),
        (hours(9.9996, beside=10), "9.9996 h"),
        (share(0.89996, beside=0.9), "89.996%"),
        (share(0.90004, beside=0.9), "90.004%"),
        (share(0.9, beside=0.9), "90.0%"),
        (number(1234), "1,234"),
        (number(7, 1), "7.0"),
        (number(3.4), "3.40"),
        (number(-0.004, 1), "-0.00400"),
        (limit(90.0, "%"), "90%"),
        (limit(100 * 0.9005, "%"), "90.05%"),
    ],
)
def test_texts(text, expected):
    assert text == expected


@given(st.floats(0.01, 1e6), st.integers(0, 4))
def test_rounding_changes_a_value_by_half_a_percent_at_most(value, digits):
    assert float(number(value, digits).replace(",", "")) == pytest.approx(value, rel=0.00501)


@given(st.floats(0.1, 1000), st.floats(-0.1, 0.1))
def test_a_printed_value_lies_on_its_own_side_of_its_limit(bound, apart):
    value = bound * (1 + apart)
    printed = float(number(value, 1, beside=bound).replace(",", ""))
    if abs(apart) > 1e-6:
        assert (printed < bound, printed > bound) == (value < bound, value > bound)


def test_the_best_of_a_table_needs_no_more_digits_than_the_others():
    assert rate(3.48212967, beside=3.48212967) == "3.48"
    assert percent(92.55, beside=92.55) == "92.55%"


def test_counts_agree_with_their_nouns():
    assert [counted(count, "batch", "batches") for count in (0, 1, 2000)] == ["0 batches", "1 batch", "2,000 batches"]
    assert [counted(count, "record is", "records are") for count in (1, 2)] == ["1 record is", "2 records are"]
    assert counted(1, "sequence") + counted(3, "sequence") == "1 sequence3 sequences"


def test_an_interval_follows_its_value_in_brackets():
    assert with_interval("3.67 hours", 3.5682, 3.7696) == "3.67 hours (3.56 to 3.77)"
    assert with_interval("3.67 hours", None, 3.7696) == "3.67 hours"
    assert between(1199.2, 1612.0) == "1,190 to 1,620"
    assert between(2.0, 2.0) == "2.000 to 2.000"
    assert between(9.2, 10.4) == "9.2 to 10.4"


@given(st.floats(1e-5, 1e6), st.floats(1.001, 3))
def test_a_printed_interval_is_not_narrower_and_little_wider_than_the_true_one(low, factor):
    high = low * factor
    ends = [float(text.replace(",", "")) for text in between(low, high).split(" to ")]
    assert ends[0] <= low * (1 + 1e-9)
    assert ends[1] >= high * (1 - 1e-9)
    assert ends[1] - ends[0] <= 1.25 * (high - low) * (1 + 1e-6)
