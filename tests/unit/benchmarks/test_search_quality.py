"""Replays of searches: their counting, recorded tables, and a small version of the claim."""

import json
import math

import numpy as np
import pytest
from benchmarks.search_quality import METHODS, MIXED, RECORDED, Machine, Replay, replay, summary
from benchmarks.search_surfaces import KINDS, NOISES, Noise, draw_surface
from benchmarks.search_tables import read_table

from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration

ABOUT = {"machine": {"cpu_model": "a processor"}, "model": "8M", "workload": {"sequences": 2000, "tokens": 430_000}}
HEADER = "num_workers,prefetch_factor,token_budget,buffer_size,block,tokens_per_sec,outcome"


@pytest.fixture
def with_optuna():
    pytest.importorskip("torch", reason="Optuna's Gaussian process needs PyTorch")
    pytest.importorskip("optuna", reason="needs the extra 'search': pip install virnuc_profiler[search]")


def write_table(folder, ending="csv"):
    rows = [
        (workers, 4, budget, 2000, block, "" if budget == 65_536 else 1000 * workers + budget + 10 * block, "ok")
        for block in range(3)
        for workers in (1, 4)
        for budget in (4096, 16_384, 65_536)
    ]
    path = folder / f"table.{ending}"
    if ending == "csv":
        lines = [f"# {json.dumps(ABOUT)}", HEADER, *(",".join(map(str, row)) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    else:
        names = HEADER.split(",")
        found = [dict(zip(names, (None if value == "" else value for value in row), strict=True)) for row in rows]
        path.write_text(json.dumps({**ABOUT, "rows": found}))
    return path


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_a_table_is_read_with_its_machine_and_its_failures(tmp_path, ending):
    table = read_table(write_table(tmp_path, ending))
    assert table.about["machine"] == {"cpu_model": "a processor"}
    assert len(table.readings) == 6
    assert len(table.truths) == 4
    assert table.largest_budget == 16_384
    assert table.best() == pytest.approx(20_394, rel=1e-3)
    assert table.space().axes["token_budget"][-1] == 16_384


def test_the_nearest_recorded_configuration_answers_for_another(tmp_path):
    table = read_table(write_table(tmp_path))
    assert table.nearest(Configuration(3, 8, 15_000, 500)) == Configuration(4, 4, 16_384, 2000)
    assert table.rate(Configuration(3, 8, 15_000, 500)) == table.best()
    assert table.rate(Configuration(4, 4, 60_000, 2000)) is None


@pytest.mark.parametrize("row", ["1,4,4096,2000,0,-3,ok", "1,4,4096,2000,,100,ok", "1,4,x,2000,0,100,ok"])
def test_a_row_that_cannot_be_read_is_named(tmp_path, row):
    path = tmp_path / "table.csv"
    path.write_text(f"# {json.dumps(ABOUT)}\n{HEADER}\n{row}\n")
    with pytest.raises(ValueError, match="row 1"):
        read_table(path)


@pytest.mark.parametrize("kind", KINDS)
def test_no_point_of_a_space_is_faster_than_the_best_of_its_surface(kind):
    surface = draw_surface(kind, np.random.default_rng(4))
    rates = [surface.rate(one) for one in surface.space().configurations]
    assert None not in rates
    assert 0.97 * surface.best() < max(rates) < 1.005 * surface.best()


@pytest.mark.parametrize("kind", NOISES)
def test_noise_is_moderate_and_follows_from_its_seed(kind):
    first, again = (
        [noise(BASELINE) for _ in range(200)] for noise in (Noise(kind, np.random.default_rng(1)) for _ in "ab")
    )
    assert first == again
    assert 0.003 < np.std(first) < 0.15


def test_a_trial_out_of_memory_counts_and_has_no_rate():
    surface = draw_surface("memory", np.random.default_rng(2))
    machine = Machine(surface, lambda one: 0.0)
    assert machine.measure(Configuration(token_budget=10**6)).rate is None
    assert machine.measure(BASELINE).rate == pytest.approx(surface.rate(BASELINE))
    assert (machine.trials, machine.out_of_memory) == (2, 1)


def test_a_share_has_its_exact_interval():
    found = summary([Replay(0.99, 60, 0.02, 0)] * 19 + [Replay(0.9, 60, 0.02, 1)])
    assert found["within"] == 0.95
    assert (found["low"], found["high"]) == pytest.approx((0.7513, 0.9987), abs=1e-4)  # Clopper and Pearson
    assert (found["trials"], found["out_of_memory"]) == (60, 1)
    assert math.isclose(found["mean_loss"], 1 - (19 * 0.99 + 0.9) / 20)


@pytest.mark.parametrize("method", ["grid-once", "random"])
def test_other_ways_are_replayed_as_well(tmp_path, method):
    found = replay(method, "knee", "1.5%", None, 1)
    assert 0 < found.share <= 1.01
    assert replay(method, "", RECORDED, read_table(write_table(tmp_path)), 1).share > 0.5
    assert method in METHODS


@pytest.mark.slow
@pytest.mark.usefixtures("with_optuna")
def test_adaptive_searches_end_near_the_best():
    found = summary([replay("adaptive", MIXED, "1.5%", None, number) for number in range(6)])
    assert found["within"] >= 5 / 6
    assert found["out_of_memory"] == 0
    assert found["cost"] < 0.1


@pytest.mark.slow
@pytest.mark.usefixtures("with_optuna")
def test_optuna_alone_runs_out_of_memory():
    assert sum(replay("optuna-alone", "memory", "1.5%", None, number).out_of_memory for number in range(1)) > 0
