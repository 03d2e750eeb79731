# SPDX-License-Identifier: MIT
"""The progress of a search in words, also of one that found nothing better, or that saves energy."""

from dataclasses import replace
from pathlib import Path

import pytest

from virnuc_profiler.reports.html.sweeps.sweep_answer import baseline_of
from virnuc_profiler.reports.html.sweeps.trial_charts import search_figure
from virnuc_profiler.reports.sweeps.sweep_folder import read_sweep_folder
from virnuc_profiler.sweep.plan.objective import Objective

REAL = Path(__file__).parents[4] / "data/h200/adaptive_sweep"


@pytest.fixture(scope="module")
def sweep():
    return read_sweep_folder(REAL)


def slowed(trial):
    names = ("steady_sequences_per_sec", "rough_sequences_per_sec", "sequences_per_sec")
    rates = {name: None if (value := getattr(trial.result, name)) is None else value / 2 for name in names}
    return replace(trial, result=replace(trial.result, **rates)) if trial.step == "search" else trial


def test_a_search_that_found_nothing_better_than_the_baseline(sweep):
    record = replace(sweep.record, trials=[slowed(trial) for trial in sweep.record.trials])
    text = search_figure(record, baseline_of(sweep)).alternative
    assert "The best single trial had 0.52" in text
    assert "x the speed of the baseline" in text


def test_a_search_for_less_energy_does_not_speak_of_speed(sweep):
    record = replace(sweep.record, plan=replace(sweep.record.plan, objective=Objective("energy")))
    figure = search_figure(record, baseline_of(sweep))
    assert "The best single trial had an energy saving of 1.06x over the baseline" in figure.alternative
    assert "speed" not in figure.alternative
    assert figure.model.yaxis.axis_label == "Energy of the baseline over that of each"
