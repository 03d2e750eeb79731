# SPDX-License-Identifier: MIT
"""Whether a process recovered is judged by a bound that no single trial can loosen."""

import pytest
from benchmarks.recovery import speed_after, speed_claim

COLD_ONCE = [100.0] * 19 + [50.0]


def verdict(after: list[float], fresh: list[float]) -> str:
    return speed_claim(speed_after(after, fresh)).verdict


def test_a_cold_trial_of_the_fresh_process_loosens_nothing() -> None:
    speed = speed_after([60.0] * 20, COLD_ONCE)
    assert (speed.ratio, speed.spread, speed.middle_half) == pytest.approx((0.6, 0.5, 0))
    assert speed.least == pytest.approx(0.98)
    assert speed_claim(speed).verdict == "FAIL"


@pytest.mark.parametrize(
    ("after", "fresh", "expected"),
    [
        (98.1, COLD_ONCE, "PASS"),
        (97.9, COLD_ONCE, "FAIL"),
        (120.0, COLD_ONCE, "PASS"),
        (96.1, [98.0, 102.0] * 10, "PASS"),  # the middle half is 4 % of the median
        (95.9, [98.0, 102.0] * 10, "FAIL"),
        (95.1, [60.0, 140.0] * 10, "PASS"),  # and 80 % here, of which 5 % count
        (94.9, [60.0, 140.0] * 10, "FAIL"),
        (98.1, [100.0], "PASS"),
    ],
)
def test_verdicts(after: float, fresh: list[float], expected: str) -> None:
    assert verdict([after] * 20, fresh) == expected


def test_the_spread_that_is_shown_says_what_it_is() -> None:
    measured = speed_claim(speed_after([99.0] * 20, COLD_ONCE)).measured
    assert measured.startswith("x0.9900 between medians, x0.980 asked for")
    assert "slowest to fastest 50.0%, middle half 0.0%" in measured
