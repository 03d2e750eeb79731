# SPDX-License-Identifier: MIT
"""Sweeps that are killed (SIGKILL) again and again, resumed each time, and end with the files of one that was not.

``VIRNUC_KILLED_SWEEPS`` says how many are tried, each of which is killed twice: 2 by default, 25 for the full soak.
"""

import json
import os
import random
import signal
import time
from collections import Counter

import pytest

from tests.support.command import SMALL, Command, run
from tests.support.sweeps import without_timings
from virnuc_profiler.sweep.results.journal import JOURNAL_FILE, read_journal
from virnuc_profiler.telemetry.checked_lines import decode_lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SWEEPS = int(os.environ.get("VIRNUC_KILLED_SWEEPS", "2"))
KILLS = 2
LINES = 9  # of a whole journal: the plan, the conditions, seven trials


@pytest.fixture
def whole(small_sweep):
    """The files of an uninterrupted sweep."""
    folder, finished = small_sweep
    assert finished.code == 0, finished.err
    return files_of(folder)


def files_of(folder):
    found = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    return {
        name: without_timings(document, validated=name == "best_config.json")
        for name, document in in_one_place(found, folder).items()
    }


def in_one_place(documents, folder):
    """Return the documents with paths that do not depend on the folder."""
    return json.loads(json.dumps(documents).replace(str(folder), "DIR"))


def lines_in(folder):
    path = folder / JOURNAL_FILE
    return path.read_bytes().count(b"\n") if path.exists() else 0


def trials_of(folder):
    return [trial for record in read_journal(folder) for trial in record.trials]


@pytest.mark.parametrize("seed", range(SWEEPS))
def test_a_killed_sweep_keeps_all_finished_trials(whole, tmp_path, seed):
    chance = random.Random(seed)
    arguments = [*SMALL, "--output-dir", tmp_path]
    for _ in range(KILLS):
        kept = trials_of(tmp_path)
        killed_at_random(chance, arguments, tmp_path)
        assert trials_of(tmp_path)[: len(kept)] == kept
        if lines_in(tmp_path):
            arguments = ["--resume", tmp_path]
    kept = trials_of(tmp_path)
    finished = run("sweep", *arguments)
    assert finished.code == 0, finished.err
    trials = trials_of(tmp_path)
    assert trials[: len(kept)] == kept
    assert set(Counter((trial.step, trial.configuration) for trial in trials).values()) == {1}
    assert files_of(tmp_path) == whole
    assert not decode_lines((tmp_path / JOURNAL_FILE).read_bytes()).damaged
    assert not list(tmp_path.rglob(".*")), "half-written files are left"


def killed_at_random(chance, arguments, folder):
    """Kill a sweep shortly after its journal reaches a random length: while it loads, measures or writes."""
    lines, moment_s = chance.randint(lines_in(folder), LINES), chance.uniform(0.0, 1.5)
    command = Command("sweep", *arguments)
    while command.process.poll() is None and lines_in(folder) < lines:
        time.sleep(0.002)
    time.sleep(moment_s)
    os.kill(command.process.pid, signal.SIGKILL)
    command.finish()
    assert command.left_behind(within_s=10.0) == []
