# SPDX-License-Identifier: MIT
"""A sweep that varies the precision, with trials that return what the test wants."""

import json
from dataclasses import replace

import pytest

from tests.support.sweeps import (
    VALIDATION_WORKLOAD,
    WORKLOAD,
    FakeTrials,
    conditions,
    failure,
    fake_sweep,
    run_in_journal,
    success,
)
from virnuc_profiler.cli.report import render
from virnuc_profiler.sweep.results.journal import Journal
from virnuc_profiler.sweep.results.result_files import read_step
from virnuc_profiler.sweep.results.sweep_record import SweepPlan
from virnuc_profiler.sweep.session import Sweep
from virnuc_profiler.targets.knobs.configuration import BASELINE

GRID = {"token_budget": (2048, 4096), "buffer_size": (500,), "precision": ("fp32", "bf16")}
STEPS = ("baseline", "packing", "validation")
VARIED = conditions(model__precision="varied", model__attention_backend="varied", model__kernels="varied")


def result_of(configuration):
    rate = 200.0 if configuration.precision == "bf16" else 100.0
    model = {"model_name": "m", "precision": configuration.precision, "kernels": "torch"}
    return success(configuration, rate + configuration.token_budget / 1000, model=model, model_reloaded=False)


def precision_plan():
    return SweepPlan(STEPS, GRID, WORKLOAD, VALIDATION_WORKLOAD)


def test_each_configuration_is_measured_in_each_precision_with_few_changes_of_the_model(tmp_path):
    trials = FakeTrials(result_of)
    fake_sweep(tmp_path, trials, grid=GRID, conditions=VARIED).run(STEPS)
    assert [configuration.precision for configuration in trials.configurations] == ["fp32"] * 3 + ["bf16"] * 3
    assert trials.configurations[0] == BASELINE.replace(precision="fp32")
    paths = [folder / configuration.run_id for _, configuration, folder in trials.calls]
    assert len(set(paths)) == len(paths)
    assert {path.name.rpartition("_")[2] for path in paths} == {"fp32", "bf16"}


def test_tables_and_files_show_the_precision(tmp_path):
    fake_sweep(tmp_path, FakeTrials(result_of), grid=GRID, conditions=VARIED).run(STEPS)
    best = json.loads((tmp_path / "best_config.json").read_text())
    assert best["config"] == {**BASELINE.to_json(), "precision": "bf16", "buffer_size": 500}
    text = render(tmp_path)
    assert "Precision | Budget  | Buffer" in text
    assert "Fastest measured: precision=bf16, token_budget=4096, buffer_size=500" in text
    assert "Baseline: precision=fp32, token_budget=4096, buffer_size=2000" in text
    assert read_step(tmp_path / "packing_sweep.json").grid["precision"] == ("fp32", "bf16")


def test_the_best_of_one_precision_says_nothing_of_another(tmp_path):
    trials = FakeTrials(lambda c: failure(c) if c.precision == "bf16" else result_of(c))
    documents = fake_sweep(tmp_path, trials, grid=GRID, conditions=VARIED).run(STEPS)
    choice = documents[-1].choice
    assert choice.configuration.precision == "fp32"
    assert "(2 failed)" in choice.reason


@pytest.mark.parametrize("count", range(7))
def test_it_is_resumed_where_it_stopped(tmp_path, count):
    trials = FakeTrials(result_of)

    def stops(workload, configuration, output_dir, on_progress):
        if len(trials.calls) == count:
            raise KeyboardInterrupt
        return trials(workload, configuration, output_dir, on_progress)

    if count < 6:
        with pytest.raises(KeyboardInterrupt):
            run_in_journal(tmp_path, stops, begin=precision_plan(), conditions=VARIED)
    else:
        run_in_journal(tmp_path, stops, begin=precision_plan(), conditions=VARIED)
    rest = FakeTrials(result_of)
    documents = run_in_journal(tmp_path, rest, conditions=VARIED)
    assert len(rest.calls) == 6 - count
    assert [document.complete for document in documents] == [True] * 3
    assert not any(result.measured_under for document in documents for result in document.results)


def test_what_is_left_names_the_precision_to_load_first(tmp_path):
    with Journal(tmp_path) as journal:
        journal.begin(precision_plan())
        sweep = fake_sweep(tmp_path, FakeTrials(result_of), grid=GRID, conditions=VARIED, journal=journal)
        assert sweep.to_run(STEPS)[0] == ("baseline", BASELINE.replace(precision="fp32"))
        sweep.run(["baseline"])
        assert [c and c.precision for _, c in sweep.to_run(STEPS)] == ["fp32", "fp32", "bf16", "bf16", None]


def test_a_sweep_in_one_precision_is_not_compared_with_one_that_varies_it(tmp_path, caplog):
    fake_sweep(tmp_path).run(["baseline"])
    trials = FakeTrials(result_of)
    fake_sweep(tmp_path, trials, grid=GRID, conditions=VARIED).run(["packing"])
    assert trials.configurations[0] == BASELINE.replace(precision="fp32")
    assert 'model.precision was "fp32" and is now "varied"' in caplog.text


def test_other_kernels_for_the_same_precision_are_marked(tmp_path):
    def other_kernels(configuration):
        result = result_of(configuration)
        return replace(result, model={**result.model, "kernels": "triton"})

    trials = FakeTrials(result_of)

    def run(workload, configuration, output_dir, on_progress):
        make = other_kernels if len(trials.calls) == 4 else result_of  # the last trial in bf16
        trials.result_of = make
        return trials(workload, configuration, output_dir, on_progress)

    sweep = Sweep(
        tmp_path, run, WORKLOAD, VALIDATION_WORKLOAD, VARIED, GRID, check_workload=lambda workload: None
    )  # fmt: skip
    _, packing = sweep.run(["baseline", "packing"])
    assert [result.measured_under for result in packing.results] == [None, None, {"model.kernels": "torch"}, None]


def test_an_earlier_baseline_in_another_precision_is_measured_again(tmp_path, caplog):
    fake_sweep(tmp_path, FakeTrials(result_of), grid=GRID, conditions=VARIED).run(["baseline"])
    trials = FakeTrials(result_of)
    grid = {**GRID, "precision": ("bf16", "fp32")}
    (document,) = fake_sweep(tmp_path, trials, grid=grid, conditions=VARIED).run(["packing"])
    assert trials.configurations[0] == BASELINE.replace(precision="bf16") == document.baseline.configuration
    assert 'precision was "fp32" and is now "bf16"' in caplog.text
    assert read_step(tmp_path / "baseline.json").results[0].configuration.precision == "bf16"


def test_an_earlier_baseline_in_the_first_precision_of_the_list_is_used(tmp_path):
    fake_sweep(tmp_path, FakeTrials(result_of), grid=GRID, conditions=VARIED).run(["baseline"])
    trials = FakeTrials(result_of)
    grid = {**GRID, "precision": ("fp32", "bf16", "fp16")}
    fake_sweep(tmp_path, trials, grid=grid, conditions=VARIED).run(["packing"])
    assert BASELINE.replace(precision="fp32") not in trials.configurations
