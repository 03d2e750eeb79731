# SPDX-License-Identifier: MIT
"""The chart of a confirmation names what the finalists are compared with."""

from dataclasses import replace
from pathlib import Path

from virnuc_profiler.reports.html.sweeps.race_chart import race_figure
from virnuc_profiler.reports.sweeps.sweep_folder import read_sweep_folder
from virnuc_profiler.targets.knobs.configuration import Configuration

REAL = Path(__file__).parents[4] / "data/h200/grid_sweep"


def test_finalists_beside_the_baseline():
    figure = race_figure(read_sweep_folder(REAL).documents["confirmation"])
    assert figure.model.xaxis.axis_label == "Speed over the baseline's"
    assert "beside the baseline in 3 blocks" in figure.caption


def test_without_a_baseline_the_winner_is_not_called_so():
    document = read_sweep_folder(REAL).documents["confirmation"]
    found = document.confirmation
    other = Configuration(8)
    contenders = replace(found.contenders, baseline=None, runner_up=other)
    comparisons = {other: next(iter(found.comparisons.values()))}
    figure = race_figure(replace(document, confirmation=replace(found, contenders=contenders, comparisons=comparisons)))
    assert figure.model.xaxis.axis_label == "Speed over the winner's"
    assert "baseline" not in figure.caption
    assert "baseline" not in {text for _, _, text in figure.legend}
