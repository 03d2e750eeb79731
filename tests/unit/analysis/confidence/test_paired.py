# SPDX-License-Identifier: MIT
"""Verdicts on two configurations."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virnuc_profiler.analysis.confidence.paired import (
    CANNOT_TELL,
    FASTER,
    SAME,
    SLOWER,
    Comparison,
    compare_blocks,
    compare_intervals,
    compare_samples,
)
from virnuc_profiler.analysis.confidence.rate_interval import SETTLED, TOO_SHORT, RateInterval

rates = st.floats(1e-3, 1e12)
pairs = st.lists(st.tuples(rates, rates), min_size=1, max_size=14)
METHODS = pytest.mark.parametrize("compare", [compare_blocks, compare_samples])


def settled(rate, half_width, confidence=0.95):
    low, high = rate * (1 - half_width), rate * (1 + half_width)
    return RateInterval(SETTLED, rate, low, high, confidence, 30, (0, 1))


def test_a_ratio_known_by_hand():
    found = compare_blocks([2.0**n for n in range(1, 7)], [1.0] * 6)
    # log2: mean 3.5, standard deviation sqrt(3.5), t = 2.5706 with five degrees of freedom
    assert math.log2(found.ratio) == pytest.approx(3.5)
    assert math.log2(found.high) == pytest.approx(3.5 + 2.5706 * math.sqrt(3.5 / 6), rel=1e-4)
    assert math.log2(found.low) == pytest.approx(3.5 - 2.5706 * math.sqrt(3.5 / 6), rel=1e-4)
    assert (found.verdict, found.blocks) == (FASTER, 6)


def test_the_method_of_welch_agrees_with_scipy():
    from scipy import stats

    random = np.random.default_rng(1)
    ours, theirs = np.exp(random.normal(1, 0.1, 7)), np.exp(random.normal(1, 0.02, 12))
    expected = stats.ttest_ind(np.log(ours), np.log(theirs), equal_var=False).confidence_interval(0.95)
    found = compare_samples(ours, theirs)
    assert (math.log(found.low), math.log(found.high)) == pytest.approx((expected.low, expected.high))


def test_drift_of_the_host_cancels_out_of_blocks():
    drift = np.array([1.0, 1.2, 0.8, 1.1, 0.7, 0.9])
    noise = 1 + 0.001 * np.array([1, -1, 2, 0, -2, 1])
    assert compare_blocks(0.95 * drift * noise, drift).verdict == SLOWER
    assert compare_samples(0.95 * drift * noise, drift).verdict == CANNOT_TELL


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([1.05] * 4, CANNOT_TELL),  # too few for a difference
        ([1.05] * 5, FASTER),
        ([0.95] * 5, SLOWER),
        ([1.001, 1.002], CANNOT_TELL),  # too few for anything
        ([1.001, 1.002, 0.999], SAME),
        ([1.015] * 8, SAME),  # a difference, but none that matters
        ([1.01, 1.03, 1.02, 1.0, 1.03, 1.02], CANNOT_TELL),  # the threshold lies inside the interval
        ([1.3, 0.8, 1.2, 0.9, 1.4, 1.0], CANNOT_TELL),  # noise
        ([], CANNOT_TELL),
    ],
)
def test_verdicts(ratios, verdict):
    assert compare_blocks(ratios, [1.0] * len(ratios)).verdict == verdict
    assert compare_blocks([1.0] * len(ratios), ratios).verdict == {FASTER: SLOWER, SLOWER: FASTER}.get(verdict, verdict)


def test_sharing_the_error_widens_the_interval():
    ratios = [1.05, 1.06, 1.05, 1.04, 1.05, 1.06]
    widths = [(found.high - found.low) for found in (compare_blocks(ratios, [1.0] * 6, tests=n) for n in (1, 5, 50))]
    assert widths == sorted(widths)
    assert len(set(widths)) == 3


@METHODS
def test_two_modes_of_a_host_are_called_different_rarely(compare):
    """Student's interval alone would miss the truth in 5.6 % of such cases."""
    random = np.random.default_rng(2)
    wrong = 0
    for _ in range(1000):
        ours, theirs = np.exp(0.08 * random.integers(0, 2, (2, 10)) + random.normal(0, 0.002, (2, 10)))
        wrong += compare(ours, theirs).differs
    assert wrong <= 60


@METHODS
@given(pairs)
@settings(max_examples=80, deadline=None)
def test_the_order_of_the_arguments_inverts_the_comparison(compare, pairs):
    ours, theirs = zip(*pairs, strict=True)
    found, inverted = compare(ours, theirs), compare(theirs, ours).inverted()
    assert found.verdict == inverted.verdict
    for name in ("ratio", "low", "high"):
        one, other = getattr(found, name), getattr(inverted, name)
        assert (one is None and other is None) or one == pytest.approx(other, rel=1e-6)


@METHODS
@given(st.lists(rates, min_size=1, max_size=14))
@settings(max_examples=50, deadline=None)
def test_equal_inputs_are_never_different(compare, values):
    found = compare(values, values)
    assert found.verdict in (SAME, CANNOT_TELL)
    assert found.ratio == pytest.approx(1)


@given(pairs, st.floats(1e-3, 1e3))
@settings(max_examples=50, deadline=None)
def test_units_do_not_matter(pairs, unit):
    ours, theirs = zip(*pairs, strict=True)
    found = compare_blocks(ours, theirs)
    scaled = compare_blocks([rate * unit for rate in ours], [rate * unit for rate in theirs])
    assert scaled.ratio == pytest.approx(found.ratio, rel=1e-6)
    if found.high is not None and found.high < 1e6:
        assert scaled.high == pytest.approx(found.high, rel=1e-3)


@METHODS
@given(pairs, st.sampled_from([0.5, 0.9, 0.95, 0.999]), st.integers(1, 100))
@settings(max_examples=50, deadline=None)
def test_comparisons_are_consistent_and_survive_json(compare, pairs, confidence, tests):
    ours, theirs = zip(*pairs, strict=True)
    found = compare(ours, theirs, confidence=confidence, tests=tests)
    if found.low is not None:
        assert found.low <= found.ratio * (1 + 1e-9)
        assert found.ratio <= found.high * (1 + 1e-9)
    if found.verdict == FASTER:
        assert found.low > 1
        assert found.ratio > 1 + found.threshold
    restored = Comparison.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert (restored.verdict, restored.ratio, restored.blocks) == (found.verdict, found.ratio, found.blocks)


def test_single_runs_are_compared_by_their_intervals():
    assert compare_intervals(settled(97, 0.005), settled(100, 0.005)).verdict == SLOWER
    assert compare_intervals(settled(100, 0.005), settled(100.5, 0.005)).verdict == SAME
    assert compare_intervals(settled(97, 0.05), settled(100, 0.05)).verdict == CANNOT_TELL
    found = compare_intervals(settled(103, 0.003), settled(100, 0.004))
    assert (found.ratio, found.high) == (pytest.approx(1.03), pytest.approx(1.03 * 1.005, abs=1e-4))
    assert compare_intervals(settled(100, 0.004), settled(103, 0.003)).inverted().low == pytest.approx(found.low)


def test_noise_from_run_to_run_widens_the_comparison_of_single_runs():
    without, with_noise = (
        compare_intervals(settled(97, 0.005), settled(100, 0.005), between_runs=x) for x in (0, 0.03)
    )
    assert (without.verdict, with_noise.verdict) == (SLOWER, CANNOT_TELL)
    assert with_noise.low < without.low


def test_runs_that_are_too_short_cannot_be_told_apart():
    short = RateInterval(TOO_SHORT, 50.0, None, None, 0.95, 0, (0, 1))
    found = compare_intervals(short, settled(100, 0.01))
    assert (found.verdict, found.ratio, found.low) == (CANNOT_TELL, 0.5, None)
    nothing = RateInterval(TOO_SHORT, None, None, None, 0.95, 0, None)
    assert compare_intervals(nothing, settled(100, 0.01)).ratio is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare_blocks([1, 2], [1]), "each block"),
        (lambda: compare_blocks([1, 0], [1, 1]), "a rate is 0"),
        (lambda: compare_samples([1, math.inf], [1, 1]), "a rate is inf"),
        (lambda: compare_blocks([1], [1], threshold=2), "threshold is 2"),
        (lambda: compare_blocks([1], [1], confidence=1), "confidence is 1"),
        (lambda: compare_samples([1], [1], tests=0), "tests is 0"),
        (lambda: compare_intervals(settled(1, 0.1), settled(1, 0.1, 0.9)), "0.95 and 0.9"),
        (lambda: compare_intervals(settled(1, 0.1), settled(1, 0.1), between_runs=2), "between_runs is 2"),
        (lambda: compare_intervals(settled(1, 0.1), settled(1, 0.1), threshold=2), "threshold is 2"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
