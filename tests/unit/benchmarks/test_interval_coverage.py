# SPDX-License-Identifier: MIT
"""A small version of the counts behind what is claimed about intervals."""

import json

import numpy as np
import pytest
from benchmarks.batch_series import LENGTHS, NOISES, TRUE_RATE, make_series

from benchmarks import interval_coverage


@pytest.mark.parametrize("noise", [noise for noise in NOISES if noise.enough <= 500], ids=lambda noise: noise.name)
def test_the_long_run_rate_of_a_series_is_the_stated_one(noise):
    series = make_series(noise, np.random.default_rng(1), 100_000)
    begin = 1000  # beyond the cold start
    rate = series.work[begin:].sum() * 1e9 / (series.times_ns[-1] - series.times_ns[begin])
    assert rate == pytest.approx(TRUE_RATE, rel=0.003)


def test_the_quick_run_prints_every_row_and_its_claims_hold(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["interval_coverage", "--quick", "--json", str(tmp_path / "figures.json")])
    interval_coverage.main()
    printed = capsys.readouterr().out
    assert "FAIL" not in printed
    assert printed.count("PASS") == 4
    assert len(json.loads((tmp_path / "figures.json").read_text())["figures"]) == len(NOISES) * len(LENGTHS)


def test_intervals_that_miss_the_truth_fail_the_claim():
    good = interval_coverage.Figures("independent", 100, 1000, 1.0, 0.0, 0.0, 0.95, 0.01)
    short = interval_coverage.Figures("independent", 10, 1000, 0.0, 0.0, 1.0, None, None)
    drift = interval_coverage.Figures("drift", 100, 1000, 0.0, 1.0, 0.0, None, None)
    narrow = interval_coverage.Figures("AR(1), 0.9", 100, 1000, 1.0, 0.0, 0.0, 0.9, 0.01)
    assert [one.holds for one in interval_coverage.claims([good, short, drift])] == [True] * 4
    assert [one.holds for one in interval_coverage.claims([good, short, drift, narrow])] == [False, True, True, True]
