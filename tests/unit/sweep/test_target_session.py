# SPDX-License-Identifier: MIT
"""A sweep over the knobs of any target: what its journal and files hold is read without the target."""

import json
from dataclasses import replace

import pytest

from tests.support.sweeps import (
    VALIDATION_WORKLOAD,
    WORKLOAD,
    FakeTrials,
    StopAfter,
    failure,
    fake_sweep,
    success,
)
from tests.support.toy_knobs import TOY
from virnuc_profiler.cli.report import render
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.reports.comparison.sweep_source import read_sweep
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.steps import SEARCH_STEPS, TARGET_STEPS
from virnuc_profiler.sweep.results.from_journal import Documents
from virnuc_profiler.sweep.results.journal import Journal, read_journal
from virnuc_profiler.sweep.results.projection_source import read_source
from virnuc_profiler.sweep.results.result_files import read_best, read_step
from virnuc_profiler.sweep.results.search_trials import planned_space, space_of_search
from virnuc_profiler.sweep.results.sweep_plan import SweepPlan
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, KnobSet
from virnuc_profiler.targets.knobs.knob import IntegerKnob

PADDED = Objective(usual_packing=None)
BEST = TOY.baseline.replace(batch_size=16, mode="fast")


def measured(one):
    """Larger batches are faster; padding keeps the packing low."""
    return success(one, 100.0 * one.batch_size * (2 if one.mode == "fast" else 1), packing=0.5)


def target_plan(steps=TARGET_STEPS, **changes):
    plan = SweepPlan(tuple(steps), {}, WORKLOAD, VALIDATION_WORKLOAD, {"target": "toy"}, objective=PADDED, knobs=TOY)
    return replace(plan, **changes)


def run(folder, trials=None, begin=None, **options):
    with Journal(folder) as journal:
        if begin is not None:
            journal.begin(begin)
        plan = journal.current.plan
        more = {"grid": plan.grid, "journal": journal, "objective": plan.objective, "knobs": plan.knobs, **options}
        return fake_sweep(folder, trials or FakeTrials(measured), **more).run(plan.steps)


def test_the_whole_sweep_of_a_target_is_in_its_files(tmp_path):
    documents = run(tmp_path, begin=target_plan())
    assert [document.step for document in documents] == list(TARGET_STEPS)
    grid, best = read_step(tmp_path / "grid_sweep.json"), read_best(tmp_path / "best_config.json")
    assert grid == documents[1]
    assert grid.knobs == best.conditions.knobs == TOY
    assert grid.best.configuration == best.choice.configuration == BEST
    assert grid.grid == {"batch_size": (4, 16), "mode": ("plain", "fast")}
    assert (grid.constraint_met, best.required_packing, best.choice.constraint_met) == (None, None, None)
    assert json.loads((tmp_path / "best_config.json").read_text())["target"] == TOY.to_json()


def test_everything_that_reads_a_sweep_reads_that_of_a_target(tmp_path):
    run(tmp_path, begin=target_plan())
    text = render(tmp_path)
    assert "Grid of toy" in text
    assert "Batch size | Mode " in text
    assert "Fastest measured: batch_size=16, mode=fast" in text
    assert "Packing rule missed" not in text
    assert "0%" not in text.replace("50.0%", "")
    side = read_sweep(tmp_path)
    assert side.recommended == {"batch_size": 16, "compile": False, "mode": "fast"}
    assert len(side.runs) >= 5
    (tmp_path / "journal.jsonl").unlink()
    assert read_sweep(tmp_path).recommended == side.recommended
    assert "Grid of toy" in render(tmp_path)


def test_a_projection_names_the_configuration_of_a_target(tmp_path):
    def with_rates(one):
        return replace(measured(one), measured_sec=1.0, start_up_sec=0.1, steady_tokens_per_sec=100.0)

    run(tmp_path, FakeTrials(with_rates), begin=target_plan())
    assert read_source(tmp_path).name == "batch_size=16, compile=false, mode=fast"


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_stopped_sweep_of_a_target_goes_on_from_its_journal(tmp_path, count):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    at_once, first, rest = FakeTrials(measured), StopAfter(count, measured), FakeTrials(measured)
    run(whole, at_once, begin=target_plan())
    with pytest.raises(KeyboardInterrupt):
        run(parts, first, begin=target_plan())
    run(parts, rest)
    assert first.configurations + rest.configurations == at_once.configurations
    (record,) = read_journal(parts)
    assert record.plan.knobs == TOY
    assert {trial.configuration.knobs for trial in record.trials} == {TOY}


def test_what_a_failing_configuration_was_is_in_the_table(tmp_path):
    run(tmp_path, FakeTrials(lambda one: failure(one) if one.batch_size > 4 else measured(one)), begin=target_plan())
    assert "batch_size=16, mode=fast (peak memory" in render(tmp_path)
    assert read_best(tmp_path / "best_config.json").choice.configuration == TOY.baseline.replace(mode="fast")


def test_without_an_opt_out_the_usual_packing_is_required(tmp_path):
    documents = run(tmp_path, begin=target_plan(objective=Objective()))
    assert (documents[1].min_packing, documents[1].constraint_met) == (0.9, False)
    assert "No configuration reached 90% packing efficiency; the best" in render(tmp_path)


def test_packing_that_was_not_measured_is_not_called_too_low(tmp_path):
    trials = FakeTrials(lambda one: replace(measured(one), packing_efficiency=None))
    run(tmp_path, trials, begin=target_plan(objective=Objective()))
    assert "Packing was not measured, so 90% packing efficiency cannot be required" in render(tmp_path)


def test_sweeps_of_different_targets_in_one_folder_are_not_compared(tmp_path):
    run(tmp_path, begin=target_plan())
    run(tmp_path, FakeTrials(success), begin=SweepPlan(("validation",), {}, WORKLOAD, VALIDATION_WORKLOAD))
    documents = Documents(read_journal(tmp_path))
    assert [str(found) for found in documents.differences("grid")] == ['target was "toy" and is now "builtin"']
    assert documents.comparable("grid") is None
    assert documents.baseline().configuration == BUILTIN_KNOBS.baseline  # measured again
    assert not (tmp_path / "grid_sweep.json").exists()


def test_all_that_a_target_says_of_itself_must_be_equal():
    def of(knobs=TOY, **about):
        return Conditions({}, {}, {"model_name": "m", "fixed_bytes": 7, "target": about}, {}, knobs=knobs)

    assert of(depth=1).differences(of(depth=1, versions={"toy": "2"})) == []  # the versions are a section of their own
    found = of(depth=1, padding="right").differences(of(depth=2))
    assert list(map(str, found)) == [
        "model.target.depth was 2 and is now 1",
        'model.target.padding was null and is now "right"',
    ]
    assert Conditions.from_json(of(depth=1).to_json()) == of(depth=1)
    assert "target" not in of(BUILTIN_KNOBS).to_json()


def test_what_a_knob_of_the_model_changes_is_no_other_condition():
    layers = IntegerKnob(name="layers", default=1, low=1, high=9, part="model", model_keys=("depth",))
    knobs = KnobSet("toy", (layers,))
    found = Conditions({}, {}, {"depth": 3, "name": "m"}, {}, knobs=knobs).with_varied(["layers"])
    assert found.model == {"depth": None, "name": "m"}


@pytest.mark.parametrize(
    "target",
    [7, {}, {"name": "toy"}, {"name": "toy", "knobs": [7]}, {"name": "toy", "knobs": []},
     {"name": "toy", "knobs": [{"kind": "integer", "name": "batch_size", "default": 4, "low": 9, "high": 1}]}],
)  # fmt: skip
def test_a_damaged_target_is_said_in_one_sentence(tmp_path, target):
    run(tmp_path, begin=target_plan())
    for read, name in ((read_best, "best_config.json"), (read_step, "grid_sweep.json")):
        path = tmp_path / name
        path.write_text(json.dumps({**json.loads(path.read_text()), "target": target}))
        with pytest.raises(TelemetryFormatError, match=f"{name} is not a whole result file: "):
            read(path)


@pytest.fixture
def searched(tmp_path):
    pytest.importorskip("optuna")
    plan = target_plan(SEARCH_STEPS)
    documents = run(tmp_path, begin=plan, search_space=planned_space(plan, 2, None))
    return tmp_path, documents


def test_a_search_over_the_knobs_of_a_target_is_in_its_files(searched):
    folder, documents = searched
    assert [document.step for document in documents] == list(SEARCH_STEPS)
    assert set(documents[1].grid) == {"batch_size", "compile", "mode"}
    assert read_best(folder / "best_config.json").choice.configuration.mode == "fast"
    assert "Adaptive Search" in render(folder)


def test_a_search_that_is_continued_keeps_its_space(searched):
    folder, _ = searched
    (record,) = read_journal(folder)
    assert space_of_search(record) == planned_space(record.plan, 64, None)
