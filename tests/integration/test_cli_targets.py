# SPDX-License-Identifier: MIT
"""Whole sweeps of a target in a file of its own, through the real command line and the supervised process."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.command import Command, run, wait_until
from virnuc_profiler.sweep.results.journal import JOURNAL_FILE, read_journal
from virnuc_profiler.sweep.results.result_files import read_best, read_step

pytestmark = pytest.mark.slow  # starts whole programs

SOURCE = Path(__file__).parents[1] / "support" / "paced_target.py"
FEW = ("--device", "cpu", "--num-sequences", "24", "--trial-seconds", "0.3", "--cooldown", "0")
BEST = "batch_size=16, compile=false, mode=fast"


def target_in(folder):
    """Copy the target into a folder of its own, as a user has it, and return what --target takes."""
    folder.mkdir(exist_ok=True)
    shutil.copy(SOURCE, folder / "mine.py")
    return f"{folder / 'mine.py'}:make"


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder of a whole sweep, and what the command printed."""
    place = tmp_path_factory.mktemp("target")
    folder = place / "out"
    return folder, run("sweep", "--target", target_in(place / "code"), *FEW, "--output-dir", folder)


def test_a_sweep_of_a_target_recommends_the_fastest_of_its_configurations(swept):
    folder, finished = swept
    assert finished.code == 0, finished.err
    assert "Target: paced, model: sleeper" in finished.out
    assert "Grid of mine.py:make" in finished.out
    assert f"Results: {folder}" in finished.out
    best = read_best(folder / "best_config.json")
    assert str(best.choice.configuration) == BEST
    grid = read_step(folder / "grid_sweep.json")
    assert [(one.configuration.batch_size, one.configuration.mode) for one in grid.results] == [
        (4, "plain"), (4, "fast"), (16, "plain"), (16, "fast"),
    ]  # fmt: skip
    assert grid.best.speedup > 1.5
    assert (folder / "telemetry/grid/telemetry_tune_batch_size=4_compile=false_mode=fast.json").is_file()
    trials = [trial for record in read_journal(folder) for trial in record.trials]
    assert {trial.step for trial in trials} >= {"baseline", "grid", "validation"}
    assert all(trial.result.succeeded for trial in trials)


def test_its_folder_is_read_without_the_target(swept, tmp_path):
    folder, _ = swept
    copied = tmp_path / "elsewhere"
    shutil.copytree(folder, copied)
    report = run("report", copied)
    assert report.code == 0, report.err
    assert "Grid of mine.py:make" in report.out
    assert f"{BEST}\nThroughput: " in report.out
    same = run("compare", folder, copied)
    assert same.code == 0, same.err
    assert "batch size | mode" in same.out
    assert f"both recommend {BEST}" in " ".join(same.out.split())
    assert run("project", copied).code == 0
    resumed = run("sweep", "--resume", copied)  # nothing is left to run
    assert resumed.code == 0, resumed.err
    assert "0 to run" in resumed.out


def test_a_killed_sweep_of_a_target_goes_on_where_it_was(tmp_path):
    folder, journal = tmp_path / "out", tmp_path / "out" / JOURNAL_FILE
    target = target_in(tmp_path / "code")
    command = Command("sweep", "--target", target, *FEW, "--output-dir", folder)
    wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 4)
    command.process.send_signal(signal.SIGKILL)
    command.finish()
    assert command.left_behind() == []
    kept = [trial for record in read_journal(folder) for trial in record.trials]
    assert len(kept) >= 2
    resumed = run("sweep", "--resume", folder)
    assert resumed.code == 0, resumed.err
    assert f"Resumed: {len(kept)} finished, " in resumed.out
    trials = [trial for record in read_journal(folder) for trial in record.trials]
    assert trials[: len(kept)] == kept
    assert str(read_best(folder / "best_config.json").choice.configuration) == BEST


def test_a_target_whose_knobs_have_changed_is_not_resumed(tmp_path):
    folder = tmp_path / "out"
    target = target_in(tmp_path / "code")
    finished = run("sweep", "--target", target, *FEW, "--steps", "baseline,grid", "--output-dir", folder)
    assert finished.code == 0, finished.err
    journal = folder / JOURNAL_FILE
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))  # as if the last trial had not ended
    source = Path(target.removesuffix(":make"))
    source.write_text(source.read_text().replace("high=128", "high=64"))
    refused = run("sweep", "--resume", folder)
    assert refused.code == 2
    assert f"the knobs of mine.py:make are not those of the sweep in {folder}: batch_size" in refused.error


def test_an_adaptive_search_over_the_knobs_of_a_target(tmp_path):
    pytest.importorskip("optuna")
    folder = tmp_path / "out"
    options = ("--search", "adaptive", "--no-confirm", "--knob", "batch_size=1,4,16")
    finished = run("sweep", "--target", target_in(tmp_path / "code"), *FEW, *options, "--output-dir", folder)
    assert finished.code == 0, finished.err
    assert "search: batch_size 1 to 16; mode plain, fast" in finished.out
    assert str(read_best(folder / "best_config.json").choice.configuration) == BEST


def test_one_configuration_of_a_target_is_profiled(tmp_path):
    finished = run(
        "profile", "--target", target_in(tmp_path / "code"), "--device", "cpu", "--num-sequences", "40",
        "--knob", "batch_size=2", "--knob", "mode=fast", "--output-dir", tmp_path / "out",
    )  # fmt: skip
    assert finished.code == 0, finished.err
    assert "Configuration: batch_size=2, compile=false, mode=fast" in finished.out
    assert "Ran:     40 sequences" in finished.out
    telemetry = json.loads((tmp_path / "out/telemetry_tune_batch_size=2_compile=false_mode=fast.json").read_text())
    assert telemetry["run_metadata"]["config"] == {"batch_size": 2, "compile": False, "mode": "fast"}
    assert telemetry["summary"]["total_sequences"] == 40
