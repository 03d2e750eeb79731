# SPDX-License-Identifier: MIT
"""Trade-offs: units that suit the model, axes without impossible values, and words only for what was measured."""

from dataclasses import replace

import pytest

from virnuc_profiler.reports.html.figures_html import Figure
from virnuc_profiler.reports.html.sweeps.tradeoff_charts import Tradeoffs, tradeoff_figures, tradeoff_table
from virnuc_profiler.sweep.results.verdicts.pareto import Tradeoff
from virnuc_profiler.targets.knobs.configuration import Configuration


def costs(seconds, joules=(1.0, 2.0), memory=(0.1, 0.1)):
    configs = (Configuration(2), Configuration(4))
    return Tradeoffs(list(map(Tradeoff, configs, seconds, joules, memory)), 6_000_000, None, None)


def charts(found):
    return [part.model for part in tradeoff_figures(found) if isinstance(part, Figure)]


@pytest.mark.parametrize(
    ("seconds", "label", "text"),
    [
        ((13_000, 15_000), "Hours for 6,000,000 sequences", "3.61 h"),
        ((150, 170), "Minutes for 6,000,000 sequences", "2.50 min"),
        ((12.5, 40.0), "Seconds for 6,000,000 sequences", "12.50 s"),
    ],
)
def test_times_have_a_unit_that_suits_them(seconds, label, text):
    found = costs(seconds)
    assert {plot.yaxis.axis_label for plot in charts(found)} == {label}
    assert text in tradeoff_table(found)


def test_an_axis_of_equal_values_shows_no_negative_ones():
    for plot in charts(costs((150, 150))):
        for axis in (plot.x_range, plot.y_range):
            assert 0 <= axis.start < axis.end
    memory, energy = charts(costs((150, 170)))
    assert memory.x_range.start < 0.1 < memory.x_range.end
    assert energy.x_range.start < 1.0 < 2.0 < energy.x_range.end


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "time, energy and memory"),
        ({"joules": (None, None)}, "time and memory"),
        ({"joules": (1.0, None)}, "time and memory"),  # the Pareto set leaves out what was not measured for all
        ({"joules": (None, None), "memory": (None, None)}, "time"),
    ],
)
def test_unbeaten_are_those_in_what_was_measured(changes, words):
    assert f"none is as good in {words}, and better in one" in tradeoff_table(costs((150, 170), **changes))


def test_configurations_that_cost_the_same_are_both_unbeaten():
    assert tradeoff_table(costs((150, 150), joules=(1.0, 1.0))).count("yes") == 2
    assert tradeoff_table(costs((150, 160))).count("yes") == 1


def test_a_baseline_that_failed_is_not_in_the_legend():
    found = costs((150, 170))
    (legend, *_) = tradeoff_figures(replace(found, baseline=Configuration(8), recommended=Configuration(2)))
    assert "recommended" in legend
    assert "baseline" not in legend
