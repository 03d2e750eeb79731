# SPDX-License-Identifier: MIT
"""What is shown of a single run: lines in a log, a view on a terminal."""

import pytest

from tests.support.sweeps import WORKLOAD
from tests.unit.cli.live.test_view_rows import READING
from virnuc_profiler.cli.live import run_progress as subject
from virnuc_profiler.cli.live.run_progress import RunProgress, show_run
from virnuc_profiler.cli.live.view_rows import rendered
from virnuc_profiler.sweep.trial.loaded_model import LiveFigures
from virnuc_profiler.targets.knobs.configuration import BASELINE


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")


def test_a_log_says_how_far_a_run_is(capsys):
    with show_run(WORKLOAD, BASELINE) as progress:
        progress.count_sequences(40)
        progress.count_tokens(WORKLOAD.tokens // 2)
        assert progress.now().startswith("measuring: 215,000 of 430,000 tokens (50%), ")
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("plain")
def test_a_view_moves_with_tokens_because_long_sequences_come_first():
    progress = RunProgress(WORKLOAD, BASELINE, lambda: LiveFigures(gpu=READING))
    view = rendered(progress.rows)
    title, bar, run, gpu = view(80).split("\n")
    assert title == "profile: 4w 4pf 4096tb 2000bs"
    assert bar.endswith("    0%")
    assert run == "run      0 of 2,000 sequences"
    assert gpu.startswith("gpu      97% busy")
    for batch in range(1, 11):
        progress.count_tokens(4000 * batch)
        progress.count_sequences(10 * batch)
    title, bar, run, gpu = view(100).split("\n")
    assert title.endswith("left")
    assert bar.endswith("    9%")
    assert run.endswith("packing 97.7%, 100 of 2,000 sequences")
    progress.count_tokens(WORKLOAD.tokens + 1000)
    assert "pass 2" in view(100)
    assert "100%" in view(100)


def test_ranks_that_share_a_terminal_print_lines(monkeypatch):
    def no_screen(view):
        raise AssertionError("a view was shown")

    monkeypatch.setattr(subject, "shows_live", lambda: True)
    monkeypatch.setattr(subject, "Screen", no_screen)
    with show_run(WORKLOAD, BASELINE, alone=False) as progress:
        assert progress.now() == "measuring: no batch finished yet, 0 s so far"
