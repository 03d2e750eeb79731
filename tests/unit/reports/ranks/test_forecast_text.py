# SPDX-License-Identifier: MIT
"""The table of a prediction."""

from pathlib import Path

from virnuc_profiler.analysis.projection.job_time import Pace
from virnuc_profiler.analysis.projection.length_strata import strata_of
from virnuc_profiler.analysis.projection.rank_forecast import Estimate, JobForecast, RankForecast
from virnuc_profiler.analysis.projection.source import Source
from virnuc_profiler.reports.ranks.forecast_text import render_forecast


def forecast(ranks, wall_s, shards, joules=None):
    estimates = Estimate(0.05, 0.0, 0.1), Estimate(91.26, 80.0, 95.0)
    return RankForecast(ranks, Estimate(wall_s, wall_s / 2, 2 * wall_s), *estimates, shards, joules)


def rendered(*forecasts, **more):
    lengths = strata_of([100] * 10)
    source = Source(Path("sweep/best_config.json"), "a sweep", Pace(1e6, 1.0, 0.02, 10.0), lengths, lengths)
    return render_forecast(JobForecast(source, 2048, forecasts, ("A sentence.", "Another one.")), **more)


def test_a_line_for_each_number_and_what_is_assumed():
    text = rendered(forecast(8, 7200.0, (256, 256), 3.6e7), forecast(512, 120.0, (3, 5), 1.8e7), width=110)
    assert text.splitlines() == [
        "Predicted for 2,048 shards from sweep/best_config.json:",
        "",
        "GPUs |  Wall time |            95 % interval |  Tail | Efficiency | Shards per GPU | GPU-hours |    Energy",
        "8    | 2 h 00 min | 1 h 00 min to 4 h 00 min | 5.00% |      91.3% |            256 |     16.00 | 10.00 kWh",
        "512  | 2 min 00 s | 1 min 00 s to 4 min 00 s | 5.00% |      91.3% |         3 to 5 |     17.07 |  5.00 kWh",
        "",
        "Assumed:",
        "  - A sentence.",
        "  - Another one.",
    ]


def test_a_terminal_of_80_columns_shows_two_tables():
    lines = rendered(forecast(8, 7200.0, (256, 256), 3.6e7)).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line.startswith("8 ")] == [
        "8    | 2 h 00 min | 1 h 00 min to 4 h 00 min | 5.00% |      91.3%",
        "8    |            256 |     16.00 | 10.00 kWh",
    ]


def test_without_power_there_is_no_energy():
    assert "Energy" not in rendered(forecast(8, 7200.0, (256, 256)), device="rank")
    assert "rank-hours" in rendered(forecast(8, 7200.0, (256, 256)), device="rank")
