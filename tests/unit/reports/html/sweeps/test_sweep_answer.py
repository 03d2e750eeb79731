# SPDX-License-Identifier: MIT
"""The answer of a sweep, and that its figures are those of the text report."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from virnuc_profiler.cli.report import render
from virnuc_profiler.reports.html.sweeps.result_facts import STEP_TITLES
from virnuc_profiler.reports.html.sweeps.step_table import step_table
from virnuc_profiler.reports.html.sweeps.sweep_answer import sweep_answer
from virnuc_profiler.reports.html.sweeps.trial_charts import discarded_counts, discarded_trials, trials_table
from virnuc_profiler.reports.sweeps.sweep_folder import SweepFolder, read_sweep_folder
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.steps import ALL_STEPS
from virnuc_profiler.targets.knobs.configuration import Configuration

REAL = Path(__file__).parents[4] / "data/h200"


@pytest.fixture(scope="module")
def sweep():
    return read_sweep_folder(REAL / "grid_sweep")


def changed(sweep, **choice):
    return replace(sweep, best=replace(sweep.best, choice=replace(sweep.best.choice, **choice)))


def test_a_tie_keeps_the_baseline_and_says_what_the_fastest_other_has(sweep):
    answer = sweep_answer(sweep)
    facts = {fact.label: f"{fact.value} {fact.note}" for fact in answer.facts}
    assert answer.headline == "Tied: keep the baseline, nothing else is better by more than 2%"
    assert answer.tone == "neutral"
    assert facts["Gain"] == "none shown the fastest other: 1.01x (1.0098 to 1.0166), 3 blocks in random order"
    assert facts["Predicted time"] == "3.68 hours 3.59 to 3.78 for 6,000,000 sequences"
    assert facts["Energy"] == "1.52 J/sequence 2.54 kWh of the GPU for 6,000,000 sequences"
    assert answer.command.startswith("virnuc-profiler embed --fasta FILE --config ")


def test_the_fastest_other_is_that_of_the_highest_ratio(sweep):
    document = sweep.documents["confirmation"]
    one = next(iter(document.confirmation.comparisons.values()))
    comparisons = {**document.confirmation.comparisons, Configuration(7): replace(one, ratio=1.5)}
    changed_one = replace(document, confirmation=replace(document.confirmation, comparisons=comparisons))
    answer = sweep_answer(replace(sweep, documents={**sweep.documents, "confirmation": changed_one}))
    assert "the fastest other: 1.50x" in next(fact.note for fact in answer.facts if fact.label == "Gain")


def test_a_validation_that_was_too_short_has_no_rate_after_warm_up(sweep):
    def notes(**changes):
        found = replace(sweep.best, validation=replace(sweep.best.validation, **changes))
        return [fact.note for fact in sweep_answer(replace(sweep, best=found)).facts]

    assert "of the validation, after warm-up" in notes()
    assert "of the validation, after its first batch" in notes(steady_sequences_per_sec=None)
    assert "of the validation, its start-up included" in notes(steady_sequences_per_sec=None, standing=None)


def test_the_steps_of_one_configuration_have_their_energy_too(sweep):
    document = replace(sweep.documents["validation"], objective=Objective("energy"))
    assert "J/seq" in step_table(document, {}, "Validation")


def test_a_gain_has_its_interval():
    answer = sweep_answer(read_sweep_folder(REAL / "adaptive_sweep"))
    assert answer.headline == "Recommended: 1.04x (1.036 to 1.045) the speed of the baseline"
    assert answer.tone == "good"


@pytest.mark.parametrize(
    ("choice", "words", "tone"),
    [
        ({"verdict": "cannot_tell"}, "Keep the baseline: nothing is shown to be better", "neutral"),
        ({"verdict": None}, "Keep the baseline", "neutral"),
        ({"verdict": "better", "speedup": 1.2, "speedup_low": 1.1, "speedup_high": 1.3, "objective": "energy"},
         "Recommended: 1.20x (1.10 to 1.30) saving energy", "good"),
        ({"verdict": "better", "speedup": 1.2, "speedup_low": 1.1, "speedup_high": 1.3, "constraint_met": False},
         "the speed of the baseline", "warning"),
    ],
)  # fmt: skip
def test_each_verdict_has_its_headline(sweep, choice, words, tone):
    answer = sweep_answer(changed(sweep, **choice))
    assert words in answer.headline
    assert answer.tone == tone


def test_a_folder_with_spaces_is_quoted(sweep):
    assert "--config '/a b/c'" in sweep_answer(replace(sweep, path=Path("/a b/c"))).command


def test_tables_have_the_figures_of_the_text_report(sweep):
    text = render(REAL / "grid_sweep")
    for name in ("dataloader", "packing", "interaction"):
        table = step_table(sweep.documents[name], {}, name)
        shown = re.findall(r"<td[^>]*>([^<]+)", table)
        for result in sweep.documents[name].results:
            assert any(rate in text for rate in shown if "±" in rate), result
        for value in shown:
            if "x (" in value or "±" in value:
                assert value in text


def test_every_step_has_a_title():
    assert set(STEP_TITLES) == set(ALL_STEPS)


def test_discarded_trials_are_counted_and_named(sweep):
    record = sweep.record
    again = replace(record, trials=[replace(record.trials[1], doubts=("another process",)), *record.trials])
    assert [one.doubts for one in discarded_trials(again)] == [("another process",)]
    assert discarded_counts(again, record.trials[1].step) == {record.trials[1].configuration: 1}
    assert "discarded, and measured again; another process" in trials_table(again)
    assert discarded_trials(record) == []
    assert discarded_counts(None, "baseline") == {}


@pytest.mark.parametrize("step", ["baseline", "dataloader", "packing", "interaction", "confirmation"])
def test_each_step_by_itself_has_an_answer(sweep, step):
    answer = sweep_answer(SweepFolder(Path(f"{step}.json"), {step: sweep.documents[step]}))
    assert answer.headline.endswith("step of a sweep, by itself")
    assert any("num_workers=" in sentence for sentence in answer.sentences)
