# SPDX-License-Identifier: MIT
"""Predictions for several ranks: their middle, their interval, and what widens it."""

import math

import pytest

from virnuc_profiler.analysis.projection.rank_forecast import RankSpread, StartTimes, forecast_ranks
from virnuc_profiler.analysis.projection.rank_simulation import ShardWork

SHARDS = [ShardWork(1.0)] * 400
EQUAL = RankSpread(0.0, 8)
NO_START = StartTimes(0.0, 0.0)


def forecast(*counts, shards=SHARDS, start=NO_START, half_width=0.0, spread=EQUAL, **more):
    return forecast_ranks(shards, counts, start=start, half_width=half_width, spread=spread, **more)


def test_without_uncertainty_it_is_the_simulation():
    one, four, seven = forecast(1, 4, 7)
    assert [each.wall_s.middle for each in (one, four, seven)] == pytest.approx([400.0, 100.0, 58.0])
    assert (four.wall_s.low, four.wall_s.high) == pytest.approx((100.0, 100.0))
    assert four.tail_share.middle == pytest.approx(0.0, abs=1e-12)
    assert four.efficiency_percent.middle == pytest.approx(100.0)
    assert seven.tail_share.middle == pytest.approx(1 - 400 / (7 * 58))
    assert seven.efficiency_percent.middle == pytest.approx(100 * 400 / (7 * 58))
    assert seven.shards == (57, 58)
    assert four.rank_hours == pytest.approx(400 / 3600)


def test_the_interval_holds_that_of_the_pace():
    (four,) = forecast(4, half_width=0.2)
    assert math.log(four.wall_s.high / four.wall_s.middle) == pytest.approx(0.2, rel=0.35)
    assert math.log(four.wall_s.middle / four.wall_s.low) == pytest.approx(0.2, rel=0.35)
    assert four.efficiency_percent.middle == pytest.approx(100.0)


def test_start_up_costs_each_rank_and_loading_counts_for_the_wall_time_alone():
    start = StartTimes(before_s=50.0, start_up_s=20.0)
    one, four = forecast(1, 4, start=start)
    assert four.wall_s.middle == pytest.approx(50 + 20 + 100, rel=0.1)
    assert four.wall_s.low == pytest.approx(100 + 70 / 1.5, rel=0.05)
    assert four.wall_s.high == pytest.approx(100 + 70 * 1.5, rel=0.05)
    assert four.efficiency_percent.middle == pytest.approx(100 * (20 + 400) / (4 * 120), rel=0.03)
    assert one.efficiency_percent.middle == pytest.approx(100.0)


def test_efficiency_is_what_is_lost_whatever_the_ranks_are():
    one, four, many = forecast(1, 4, 300, start=StartTimes(10.0, 5.0), spread=RankSpread(0.2), half_width=0.3)
    assert (one.efficiency_percent.low, one.efficiency_percent.high) == pytest.approx((100.0, 100.0))
    assert 100 > four.efficiency_percent.middle > many.efficiency_percent.middle
    assert four.efficiency_percent.high <= 100 * (1 + 1e-9)


def test_ranks_that_differ_more_wait_longer_for_the_last():
    shards = [ShardWork(10.0)] * 40
    found = [forecast(20, shards=shards, spread=RankSpread(log_sd))[0] for log_sd in (0.0, 0.05, 0.2)]
    tails = [each.tail_share.middle for each in found]
    assert tails == sorted(tails)
    assert tails[0] == pytest.approx(0.0, abs=1e-12)
    assert tails[2] > 2 * tails[1] > 0.05


def test_it_is_the_same_again_for_a_seed_and_whatever_else_is_asked():
    spread = RankSpread(0.1)
    assert forecast(8, 64, half_width=0.1, spread=spread) == forecast(8, 64, half_width=0.1, spread=spread)
    assert forecast(8, half_width=0.1, spread=spread, seed=1) != forecast(8, half_width=0.1, spread=spread)


def test_energy_is_that_of_all_devices_for_the_whole_time():
    (four,) = forecast(4, watts=500.0)
    assert four.joules == pytest.approx(4 * 100 * 500)
    (unknown,) = forecast(4)
    assert unknown.joules is None


@pytest.mark.parametrize(("shards", "counts"), [([], [1]), (SHARDS, [0, 2]), (SHARDS, [])])
def test_nothing_to_predict_is_refused(shards, counts):
    with pytest.raises(ValueError, match="both must be at least 1"):
        forecast(*counts, shards=shards)
