# SPDX-License-Identifier: MIT
"""Files that were in a sweep's folder before: nothing is lost that no journal holds."""

import json
import os
import shutil
from dataclasses import replace

import pytest

from tests.support.sweeps import WORKLOAD, FakeTrials, conditions, fake_sweep, success
from virnuc_profiler.sweep.plan.steps import STEP_NAMES
from virnuc_profiler.sweep.results.journal import JOURNAL_FILE
from virnuc_profiler.sweep.results.result_files import read_best, read_step
from virnuc_profiler.targets.knobs.configuration import BASELINE

GRID = {"num_workers": [2], "prefetch_factor": [2], "token_budget": [2048], "buffer_size": [500]}
OTHER = replace(WORKLOAD, fingerprint="sha256:cc")


@pytest.fixture
def copied(tmp_path):
    """A folder with the result files of a sweep and without its journal, and their contents."""
    fake_sweep(tmp_path / "first", grid=GRID).run(STEP_NAMES)
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in (tmp_path / "first").glob("*.json"):
        shutil.copy(path, folder)
    return folder, {path.name: path.read_text() for path in folder.glob("*.json")}


def contents(folder):
    return [path.read_text() for path in folder.glob("*.json")]


@pytest.mark.parametrize("steps", [["baseline"], ["validation"], list(STEP_NAMES)])
def test_copied_results_are_kept_whatever_is_run(copied, caplog, steps):
    folder, before = copied
    fake_sweep(folder, FakeTrials(lambda c: success(c, 50.0)), grid=GRID).run(steps)
    assert set(before.values()) <= set(contents(folder))
    assert read_step(folder / "baseline.json").results[0].sequences_per_sec == 50.0
    assert json.loads((folder / "best_config.not-in-journal-1.json").read_text())["sequences_per_sec"] == 100.0
    told = [record.message for record in caplog.records if "best_config.json" in record.message]
    assert told == [
        f"{folder / 'best_config.json'} is of no sweep in the folder's journal: it is kept as "
        "best_config.not-in-journal-1.json"
    ]
    assert "the journal keeps its results" not in caplog.text


def test_a_file_that_is_no_result_is_kept_too(tmp_path, caplog):
    (tmp_path / "baseline.json").write_text("{")
    (tmp_path / "best_config.json").write_text('{"notes": "mine"}')
    (tmp_path / "best_config.not-in-journal-1.json").write_text("an earlier one")
    fake_sweep(tmp_path).run(["baseline"])
    assert (tmp_path / "baseline.not-in-journal-1.json").read_text() == "{"
    assert (tmp_path / "best_config.not-in-journal-1.json").read_text() == "an earlier one"
    assert (tmp_path / "best_config.not-in-journal-2.json").read_text() == '{"notes": "mine"}'


def test_what_the_journal_holds_is_replaced_without_a_copy(tmp_path, caplog):
    fake_sweep(tmp_path, grid=GRID).run(STEP_NAMES)
    fake_sweep(tmp_path, grid=GRID, workload=OTHER).run(["baseline"])
    assert "best_config.json was of an earlier sweep under other conditions; the journal keeps its" in caplog.text
    fake_sweep(tmp_path, grid=GRID, conditions=conditions(versions__torch="3")).run(STEP_NAMES)
    assert read_best(tmp_path / "best_config.json").conditions.versions["torch"] == "3"
    assert list(tmp_path.glob("*not-in-journal*")) == []


def test_results_of_which_the_journal_has_lost_a_part_are_kept(tmp_path):
    fake_sweep(tmp_path, FakeTrials(lambda c: success(c, 70.0))).run(["baseline"])
    (tmp_path / JOURNAL_FILE).unlink()
    fake_sweep(tmp_path).run(["baseline"])
    assert read_step(tmp_path / "baseline.not-in-journal-1.json").results[0].sequences_per_sec == 70.0


def test_the_telemetry_of_an_earlier_sweep_is_kept(tmp_path):
    folder = tmp_path / "telemetry" / "baseline"
    folder.mkdir(parents=True)
    names = [f"{kind}_{BASELINE.run_id}" for kind in ("telemetry", "run")]
    for name in names:
        (folder / f"{name}.json").write_text("earlier")
        os.utime(folder / f"{name}.json", (1, 1))
    fake_sweep(tmp_path).run(["baseline"])
    for name in names:
        assert (folder / f"{name}.earlier-1.json").read_text() == "earlier"
