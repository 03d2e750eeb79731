# SPDX-License-Identifier: MIT
"""A comparison as text, Markdown and JSON: the same content, whatever the names in the files are."""

import json
from dataclasses import replace

import pytest

from tests.support.compared_runs import noisy_run
from virnuc_profiler.analysis.comparison.effects import Rule
from virnuc_profiler.analysis.comparison.measured_run import Side
from virnuc_profiler.analysis.comparison.sides import compare_sides
from virnuc_profiler.reports.comparison.baseline_store import Baseline
from virnuc_profiler.reports.comparison.baseline_text import render_baseline_file, render_baselines
from virnuc_profiler.reports.comparison.comparison_markdown import escaped, render_comparison_markdown
from virnuc_profiler.reports.comparison.comparison_text import render_comparison
from virnuc_profiler.reports.comparison.run_source import run_of

HOSTILE = "\x1b[31m|<b>`x`\n@user"


def sides(count=6, batches=30, **options):
    """Two sides of repeated runs."""
    found = []
    for name, start in (("before", 0), ("after", 100)):
        seeds = range(start, start + count)
        runs = [run_of(noisy_run(seed=seed, batches=batches, **options), f"{name} {seed}") for seed in seeds]
        found.append(Side(name=name, runs=tuple(runs)))
    return found


def sweep(side):
    """Trials of as many configurations as the side has runs."""
    trials = [replace(run, configuration={"num_workers": number}) for number, run in enumerate(side.runs)]
    return replace(side, runs=tuple(trials), is_sweep=True, recommended={"num_workers": 1})


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_text_fits_the_terminal(columns):
    before, after = sides()
    for one, other in ((before, after), (sweep(before), sweep(after))):
        text = render_comparison(compare_sides(one, other, Rule()), columns)
        assert max(map(len, text.splitlines())) <= columns


def test_a_sweep_shows_each_configuration_and_the_recommendations():
    before, after = map(sweep, sides())
    failed = replace(after, runs=(replace(after.runs[0], failure="OOM"), *after.runs[1:]))
    compared = compare_sides(before, failed, Rule())
    text = render_comparison(compared, 120)
    assert "Steady tokens/s, by configuration\nnum workers | Reference" in text
    assert "Recommendation: both recommend num_workers=1: " in text
    slower = replace(
        after,
        runs=tuple(
            replace(run, values={**run.values, "steady_tokens_per_sec": 1e5}, steady=None) for run in after.runs
        ),
    )
    assert "Cannot tell: 6 configurations (single trial)." in render_comparison(
        compare_sides(before, slower, Rule()), 120
    )
    assert "Failed in the candidate only: num_workers=0 (OOM)" in text
    assert "those of the configurations hold all at once" in " ".join(text.split())
    other = replace(after, recommended={"num_workers": 2})
    assert "Recommendation: num_workers=1, then num_workers=2: " in render_comparison(
        compare_sides(before, other, Rule()), 120
    )


def test_a_recommendation_of_one_side_only_is_no_change():
    before, after = sides()
    text = render_comparison(compare_sides(before, replace(after, recommended={"num_workers": 1}), Rule()), 120)
    assert "Recommendation of the candidate only: num_workers=1" in text
    assert "nothing, then" not in text


def test_a_far_slower_candidate_has_not_lost_everything():
    before, after = sides(count=1)
    slow = replace(after.runs[0], values={**after.runs[0].values, "steady_tokens_per_sec": 1.0}, steady=None)
    compared = compare_sides(before, replace(after, runs=(slow,)), Rule())
    text = render_comparison(compared, 120)
    assert "-100.0%" not in text
    assert "-99.9" in text


def test_no_name_controls_the_terminal_or_the_page():
    before, after = sides(2, versions__torch=HOSTILE)
    before = replace(
        before, name=HOSTILE, runs=tuple(replace(run, facts={**run.facts, HOSTILE: HOSTILE}) for run in before.runs)
    )
    after = replace(
        after, runs=tuple(replace(run, facts={**run.facts, HOSTILE: "b"}, warnings=(HOSTILE,)) for run in after.runs)
    )
    compared = compare_sides(before, after, Rule())
    baseline = Baseline("main", HOSTILE, HOSTILE, before)
    texts = [render_comparison(compared, 80), render_baselines([baseline], 80), render_baseline_file(baseline, 80)]
    for text in (*texts, render_comparison_markdown(compared)):
        assert all(line.isprintable() for line in text.split("\n"))
    page = render_comparison_markdown(compared)
    assert "<b>" not in page
    assert "@user" not in page
    assert "`x`" not in page.replace("\\`", "")
    assert json.loads(json.dumps(compared.to_json()))["reference"]["name"] == HOSTILE


def test_escaping_keeps_every_letter():
    assert escaped("a_b|c*d`e[f]g") == r"a\_b\|c\*d\`e\[f\]g"
    assert escaped("<i>&@") == "&lt;i&gt;&amp;&#64;"
