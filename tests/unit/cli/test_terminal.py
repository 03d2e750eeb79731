# SPDX-License-Identifier: MIT
"""The width of the terminal, and the lines of long work."""

from virnuc_profiler.cli.terminal import MIN_WIDTH, WorkLines, terminal_width


def test_the_width_is_that_of_the_terminal_or_80(monkeypatch):
    monkeypatch.setenv("COLUMNS", "132")
    assert terminal_width() == 132
    monkeypatch.setenv("COLUMNS", "5")
    assert terminal_width() == MIN_WIDTH


def test_long_work_says_what_it_does_every_few_seconds(capsys):
    now = 100.0
    say = WorkLines(lambda: now)
    for now in (100.5, 101.9, 102.0, 103.0, 106.9, 107.0, 107.1):
        say(f"at {now}")
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["at 102.0 ...", "at 107.0 ..."]
    assert captured.out == ""
