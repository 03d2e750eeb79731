# SPDX-License-Identifier: MIT
"""Blocks: what they measure, in which order, and how a resumed sweep goes on within one."""

import json

import pytest

from tests.support.sweeps import (
    FakeTrials,
    StopAfter,
    conditions,
    failure,
    fake_sweep,
    run_in_journal,
    small_plan,
    success,
)
from virnuc_profiler.sweep.measurement.blocks import block_order
from virnuc_profiler.sweep.measurement.listener import SweepListener
from virnuc_profiler.sweep.plan.steps import plan
from virnuc_profiler.sweep.results.journal import read_journal
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration

GRID = {"num_workers": (2, 8), "prefetch_factor": (2,)}
CONFIGURATIONS = plan()["dataloader"].configurations()


def test_the_order_follows_from_seed_step_and_block():
    orders = [block_order(CONFIGURATIONS, 42, "dataloader", block) for block in range(5)]
    assert all(sorted(order, key=str) == sorted(CONFIGURATIONS, key=str) for order in orders)
    assert len(set(orders)) == 5
    assert orders[3] == block_order(CONFIGURATIONS[::-1], 42, "dataloader", 3)
    assert orders[3] != block_order(CONFIGURATIONS, 43, "dataloader", 3)


def test_configurations_of_one_model_stay_together():
    several = [Configuration(workers, precision=name) for workers in (1, 2, 4) for name in ("fp16", "bf16")]
    order = [one.precision for one in block_order(several, 1, "packing", 0)]
    assert order in (["fp16"] * 3 + ["bf16"] * 3, ["bf16"] * 3 + ["fp16"] * 3)


def sweep_in_blocks(folder, trials, steps=("baseline", "dataloader"), **options):
    return fake_sweep(folder, trials, grid=GRID, repeats=5, seed=3, **options).run(steps)


def test_every_block_has_every_configuration_and_the_baseline(tmp_path):
    trials = FakeTrials()
    baseline, dataloader = sweep_in_blocks(tmp_path, trials)
    assert trials.configurations[:5] == [BASELINE] * 5
    blocks = [trials.configurations[5 + 3 * number : 8 + 3 * number] for number in range(5)]
    assert all(set(block) == {BASELINE, Configuration(2, 2), Configuration(8, 2)} for block in blocks)
    assert len(set(map(tuple, blocks))) > 1
    assert [result.configuration for result in dataloader.results] == [Configuration(2, 2), Configuration(8, 2)]
    assert (baseline.complete, dataloader.complete, dataloader.repeats) == (True, True, 5)
    assert {result.standing.verdict for result in dataloader.results} == {"same"}
    folders = {str(folder.relative_to(tmp_path)) for _, _, folder in trials.calls[5:]}
    assert folders == {"telemetry/dataloader", *(f"telemetry/dataloader/block_{number}" for number in range(2, 6))}


def test_what_is_truly_faster_is_the_best_with_an_interval_whatever_the_drift(tmp_path):
    speeds = {BASELINE: 100.0, Configuration(2, 2): 101.0, Configuration(8, 2): 110.0}
    count = iter(range(100))
    trials = FakeTrials(lambda config: success(config, speeds[config] * (1 - 0.02 * (next(count) // 3 % 5))))
    _, document = sweep_in_blocks(tmp_path, trials)
    standing = document.best.standing
    assert (document.best.configuration, standing.verdict) == (Configuration(8, 2), "faster")
    assert standing.speedup_low < 1.1 < standing.speedup_high
    written = json.loads((tmp_path / "dataloader_sweep.json").read_text())
    assert written["best"]["standing"]["verdict"] == "faster"
    assert written["best"]["speedup"] == pytest.approx(1.1, rel=0.02)


@pytest.mark.parametrize("count", [0, 3, 7, 19])
def test_a_resumed_sweep_goes_on_within_its_block_in_the_same_order(tmp_path, count):
    from dataclasses import replace

    begun = replace(small_plan(("baseline", "dataloader")), grid=GRID, repeats=5, seed=3)
    options = {"repeats": 5, "seed": 3}
    whole = FakeTrials()
    (tmp_path / "whole").mkdir()
    run_in_journal(tmp_path / "whole", whole, begin=begun, **options)
    stopped, rest = StopAfter(count), FakeTrials()
    (tmp_path / "stopped").mkdir()
    with pytest.raises(KeyboardInterrupt):
        run_in_journal(tmp_path / "stopped", stopped, begin=begun, **options)
    documents = run_in_journal(tmp_path / "stopped", rest, **options)
    assert stopped.configurations + rest.configurations == whole.configurations
    assert len(whole.calls) == 20
    assert [document.complete for document in documents] == [True, True]


def test_a_configuration_that_fails_is_not_run_in_later_blocks(tmp_path):
    trials = FakeTrials(lambda config: failure(config) if config.num_workers == 8 else success(config))
    _, document = sweep_in_blocks(tmp_path, trials)
    assert trials.configurations.count(Configuration(8, 2)) == 1
    assert document.complete
    assert [result.status for result in document.results] == ["success", "failed"]


def test_journals_without_blocks_are_read(tmp_path):
    fake_sweep(tmp_path, conditions=conditions()).run(["baseline"])
    path = tmp_path / "journal.jsonl"
    (record,) = read_journal(tmp_path)
    from virnuc_profiler.sweep.results.sweep_plan import Trial
    from virnuc_profiler.telemetry.checked_lines import decode_lines, encode_line

    lines = []
    for _, entry in decode_lines(path.read_bytes()).entries:
        for name in ("block", "attempt", "took_sec", "doubts", "repeats", "objective"):
            entry.pop(name, None)
        entry.pop("seed", None)
        lines.append(encode_line(entry))
    path.write_bytes(b"".join(lines))
    (older,) = read_journal(tmp_path)
    (trial,) = older.trials
    assert isinstance(trial, Trial)
    assert (trial.block, trial.attempt, trial.took_sec, trial.doubts) == (0, 0, None, ())
    assert older.plan.repeats == 1
    assert trial.result == record.trials[0].result


def test_what_fails_in_a_block_is_left_out_of_the_others_and_of_the_count(tmp_path):
    class Counting(SweepListener):
        left_out = 0

        def trial_left_out(self):
            self.left_out += 1

    bad, listener = Configuration(2, 2), Counting()
    trials = FakeTrials(lambda config: failure(config) if config == bad else success(config))
    sweep = fake_sweep(tmp_path, trials, grid=GRID, repeats=5, listener=listener)
    planned = len(sweep.planned(("baseline", "dataloader")))
    sweep.run(("baseline", "dataloader"))
    assert trials.configurations.count(bad) == 1
    assert (listener.left_out, len(trials.calls)) == (4, planned - 4)
