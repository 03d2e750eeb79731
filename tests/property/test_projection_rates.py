# SPDX-License-Identifier: MIT
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.analysis.timing.statistics import mean, percentile, weighted_mean
from virnuc_profiler.telemetry.rates import projected_hours, rates, ratio

finite = st.floats(allow_nan=False, allow_infinity=False)
counts = st.none() | st.integers(0, 2**63 - 1)
values = st.lists(st.none() | st.floats(-1e9, 1e9), max_size=30)


@given(st.none() | finite | counts, st.none() | finite | counts)
def test_a_ratio_is_finite_or_none(numerator, denominator):
    result = ratio(numerator, denominator)
    assert result is None or math.isfinite(result)


@given(counts, counts, st.none() | st.floats(0, allow_nan=False, allow_infinity=False))
def test_rates_are_finite_and_not_negative_or_none(sequences, tokens, elapsed):
    for value in rates(sequences, tokens, elapsed).values():
        assert value is None or (math.isfinite(value) and value >= 0)


@given(st.integers(1, 10**9), st.integers(1, 10**12), st.floats(1e-3, 1e7))
def test_both_projections_of_one_run_agree(sequences, tokens, elapsed):
    found = rates(sequences, tokens, elapsed)
    assert found["projected_6M_hours"] == pytest.approx(6e6 / found["sequences_per_hour"])
    assert found["projected_6M_hours_tokens"] == pytest.approx(found["projected_6M_hours"])


@given(st.integers(1, 10**9), st.floats(1e-3, 1e7), st.integers(1, 1000))
def test_projection_is_linear_and_gives_back_the_run_itself(sequences, elapsed, factor):
    assert projected_hours(sequences, sequences, elapsed) == pytest.approx(elapsed / 3600)
    assert projected_hours(factor * sequences, sequences, elapsed) == pytest.approx(factor * elapsed / 3600)


@pytest.mark.parametrize("measured", [0, None])
def test_no_rate_no_projection(measured):
    assert projected_hours(6e6, measured, 10.0) is None
    assert projected_hours(6e6, 10, None) is None


@given(values, st.floats(0, 100))
def test_percentile_is_numpys_default(data, percent):
    known = [value for value in data if value is not None]
    if not known:
        assert percentile(data, percent) is None
    else:
        assert percentile(data, percent) == pytest.approx(float(np.percentile(known, percent)), abs=1e-5)


@pytest.mark.parametrize("percent", [-1, 101, float("nan")])
def test_percentile_of_nonsense(percent):
    with pytest.raises(ValueError, match="percent"):
        percentile([1.0], percent)


@given(values)
def test_means(data):
    known = [value for value in data if value is not None]
    if not known:
        assert mean(data) is None
        assert weighted_mean((value, 1.0) for value in data) is None
    else:
        assert mean(data) == pytest.approx(math.fsum(known) / len(known))
        assert weighted_mean((value, 2.0) for value in data) == pytest.approx(mean(data))
