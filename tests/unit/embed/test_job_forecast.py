# SPDX-License-Identifier: MIT
"""Predictions from a file, a plan, and what was measured."""

import math

import numpy as np
import pytest

from tests.support.embed_job import write_fasta
from virnuc_profiler import ModelShape, predict_embedding
from virnuc_profiler.analysis.projection.job_time import Pace
from virnuc_profiler.analysis.projection.length_strata import strata_of
from virnuc_profiler.analysis.projection.rank_forecast import ASSUMED_SPREAD, RankSpread
from virnuc_profiler.analysis.projection.source import Source
from virnuc_profiler.embed import job_forecast, measured_ranks
from virnuc_profiler.embed.job_forecast import forecast_job, shard_works
from virnuc_profiler.embed.measured_ranks import MeasuredRanks, read_measured
from virnuc_profiler.embed.shard_plan import plan_shards
from virnuc_profiler.errors import TelemetryFormatError, UsageError, WorkloadError
from virnuc_profiler.targets.knobs.configuration import Configuration

SHAPE = ModelShape(6, 320)
TOKENS = np.random.default_rng(0).integers(3, 1025, 20_000)
CONFIGURATION = Configuration(num_workers=0, token_budget=2048)


def measured(tokens_per_sec=1e6, shape=SHAPE, spread=ASSUMED_SPREAD, **more):
    lengths = strata_of(TOKENS)
    pace = Pace(tokens_per_sec, 2.0, own_half_width=0.02, measured_s=100.0)
    return MeasuredRanks(Source("run.json", "a run", pace, lengths, lengths, shape, **more), spread)


def forecast(source, *counts, num_shards=100):
    shards = plan_shards(TOKENS, SHAPE, num_shards)
    return forecast_job(source, shards, TOKENS, SHAPE, counts, configuration=CONFIGURATION)


def test_one_gpu_takes_what_is_projected_and_several_share_it():
    one, four = forecast(measured(), 1, 4).forecasts
    steady_s = TOKENS.sum() / 1e6
    assert one.wall_s.middle == pytest.approx(2.0 + steady_s, rel=0.05)
    assert four.wall_s.middle == pytest.approx(2.0 + steady_s / 4, rel=0.2)
    assert one.wall_s.low < one.wall_s.middle < one.wall_s.high
    assert four.efficiency_percent.middle < 100


def test_the_time_of_shards_adds_up_to_that_of_the_job():
    shards = plan_shards(TOKENS, SHAPE, 37)
    for by_cost in (True, False):
        works = shard_works(shards, 50.0, Configuration(num_workers=4), by_cost=by_cost)
        assert math.fsum(work.seconds for work in works) == pytest.approx(50.0)
        assert sum(work.sequences for work in works) == len(TOKENS)
        assert all(1 <= work.ranges <= 16 for work in works)


def test_what_it_assumes_is_said():
    text = " ".join(forecast(measured(), 4).assumptions)
    assert "differ by 2.00% (standard deviation), which is assumed" in text
    assert "is unknown and left out" in text
    assert "One run does not show how much runs differ" in text
    known = measured(spread=RankSpread(0.07, 8), before_s=12.0)
    text = " ".join(forecast(known, 4).assumptions)
    assert "differ by 7.00% (standard deviation), as those of the 8 ranks of run.json do" in text
    assert "they need 12.0 s until they run" in text


def test_loading_the_model_and_power_are_taken_from_the_run():
    without, with_both = (forecast(each, 4).forecasts[0] for each in (measured(), measured(before_s=30.0, watts=600.0)))
    assert with_both.wall_s.middle - without.wall_s.middle == pytest.approx(30.0, rel=0.1)
    assert with_both.tail_share == without.tail_share
    assert without.joules is None
    assert with_both.joules == pytest.approx(4 * 600 * with_both.wall_s.middle)


def test_a_run_of_another_model_is_refused():
    with pytest.raises(UsageError, match="a model of 33 layers of 1280, and the job's has 6 layers of 320"):
        forecast(measured(shape=ModelShape(33, 1280)), 4)
    assert forecast(measured(shape=None), 4).forecasts


def test_as_a_function(tmp_path, monkeypatch):
    fasta = write_fasta(tmp_path / "a.fa", 500)
    monkeypatch.setattr(job_forecast, "read_measured", lambda path: measured())
    found = predict_embedding(fasta, tmp_path / "run.json", [1, 8], model="8M", num_shards=40)
    assert found.num_shards == 40
    assert [each.ranks for each in found.forecasts] == [1, 8]
    assert "The job's file is not the one that was run" in " ".join(found.assumptions)
    assert predict_embedding(fasta, "run.json", [1], model="8M").num_shards == 1
    with pytest.raises(ValueError, match="dtype is 'fp64', must be one of fp32, fp16"):
        predict_embedding(fasta, "run.json", [1], model="8M", dtype="fp64")
    (tmp_path / "empty.fa").touch()
    with pytest.raises(WorkloadError, match="contains no sequence"):
        predict_embedding(tmp_path / "empty.fa", "run.json", [1], model="8M")


def job_folder(tmp_path, monkeypatch, *rates):
    """A folder with the runs of ranks of these rates, and with files that are none; None is a run without a rate."""
    telemetry = tmp_path / "telemetry"
    telemetry.mkdir()
    names = [f"run_embed_rank_{rank}of{len(rates)}.json" for rank in range(len(rates))]
    for name in (*names, "run_embed_rank_0of2_part_2.json", "run_embed_rank_0of2.earlier-1.json"):
        (telemetry / name).touch()

    def read(path):
        rate = rates[names.index(path.name)]
        if rate is None:
            raise TelemetryFormatError("no rate")
        return measured(rate).source

    monkeypatch.setattr(measured_ranks, "read_source", read)
    return tmp_path


def test_the_ranks_of_an_earlier_job_tell_how_much_they_differ(tmp_path, monkeypatch):
    found = read_measured(job_folder(tmp_path, monkeypatch, 1e6, 2e6, None, 4e6))
    assert found.spread.measured_ranks == 3
    assert found.spread.log_sd == pytest.approx(math.log(2))
    assert found.source.pace.tokens_per_sec == pytest.approx(2e6)
    assert found.source.path == tmp_path


def test_two_ranks_tell_a_pace_and_no_more(tmp_path, monkeypatch):
    found = read_measured(job_folder(tmp_path, monkeypatch, 1e6, 4e6))
    assert found.spread == ASSUMED_SPREAD
    assert found.source.pace.tokens_per_sec == pytest.approx(2e6)


def test_a_job_without_a_rate_is_refused(tmp_path, monkeypatch):
    with pytest.raises(TelemetryFormatError, match=r"no rank of .* has two measured batches"):
        read_measured(job_folder(tmp_path, monkeypatch, None))
