# SPDX-License-Identifier: MIT
"""The width of the terminal, lines that fit it, text that cannot command it, and the lines of long work."""

import io

import pytest

from virnuc_profiler.cli.terminal import (
    MIN_WIDTH,
    WorkLines,
    cells,
    command_line,
    fit,
    safe,
    say,
    say_progress,
    set_quiet,
    terminal_width,
)

HOSTILE = [
    "\x1b[2J\x1b[31mred",
    "a\rb\x08c\x07",
    "\u202egnirts\u202c",
    "\u2066\u200f\u061c",
    "\x9b31m",
    "\ud800",
    "\u2028",
]


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def not_quiet():
    yield
    set_quiet(False)


def test_the_width_is_that_of_the_terminal_or_80(monkeypatch):
    monkeypatch.setenv("COLUMNS", "132")
    assert terminal_width() == 132
    monkeypatch.setenv("COLUMNS", "5")
    assert terminal_width() == MIN_WIDTH


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_text_can_command_a_terminal(text):
    assert safe(text).isprintable()
    assert safe(f"one\n{text}\ntwo").split("\n")[::2] == ["one", "two"]


def test_usual_text_stays_as_it_is():
    for text in ("", "a | b", "Müller 東京 ±0.4% …", "one\ntwo\n"):
        assert safe(text) == text


def test_wide_characters_take_two_columns():
    assert [cells(text) for text in ("abc", "東京", "e\u0301", "±")] == [3, 4, 1, 1]


def test_long_lines_are_broken_between_words():
    assert fit("Workload: 72 sequences of /a/long/path (seed 42), 15,688 tokens", 30) == (
        "Workload: 72 sequences of\n  /a/long/path (seed 42),\n  15,688 tokens"
    )
    assert fit("  an indented line of words", 16) == "  an indented\n    line of\n    words"
    assert fit("Rate:    3.85 sequences/s over the run", 26) == "Rate:    3.85 sequences/s\n         over the run"
    assert fit("東京 東京 東京", 9) == "東京 東京\n  東京"


def test_a_word_that_is_too_long_and_a_table_stay_whole():
    assert fit("Results: /a/very/long/path/of/a/user", 20) == "Results:\n  /a/very/long/path/of/a/user"
    assert fit("/a/very/long/path/of/a/user", 20) == "/a/very/long/path/of/a/user"
    assert fit("Workers | Prefetch | Seq/sec", 20) == "Workers | Prefetch | Seq/sec"


@pytest.mark.parametrize("width", [20, 33, 80])
def test_no_word_is_lost(width):
    line = "  " + " ".join(f"word{number}" for number in range(60))
    broken = fit(line, width)
    assert broken.split() == line.split()
    assert max(map(len, broken.split("\n"))) <= width


def test_a_command_can_be_copied_from_a_terminal_and_a_pipe(monkeypatch):
    words = ["virnuc-profiler", "report", "/a/folder with spaces/of/a/user/run_tune_4w_4pf_4096tb_2000bs.json"]
    line = f"All figures: virnuc-profiler report '{words[2]}'"
    assert command_line(words, "All figures: ") == line
    monkeypatch.setattr("sys.stdout", Screen())
    monkeypatch.setenv("COLUMNS", "80")
    first, second = command_line(words, "All figures: ").split("\n")
    assert first == "All figures: virnuc-profiler report \\"
    assert second.strip() == f"'{words[2]}'"
    assert fit(f"{first} " * 9 + "\\", 40) == f"{first} " * 9 + "\\"


def test_lines_on_stderr_fit_a_terminal_and_stay_whole_in_a_pipe(monkeypatch, capsys):
    text = "virnuc-profiler: error: " + "words " * 20 + "\x1b[2J"
    say(text)
    assert capsys.readouterr().err == text.replace("\x1b", "\\x1b") + "\n"
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "40")
    say(text)
    lines = screen.getvalue().splitlines()
    assert len(lines) > 3
    assert max(map(len, lines)) <= 40


def test_a_closed_stderr_ends_nothing(monkeypatch):
    closed = Screen()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)
    say("nobody hears this")


@pytest.mark.usefixtures("not_quiet")
def test_quiet_commands_say_nothing_of_their_progress(capsys):
    set_quiet(True)
    say_progress("half way")
    say("an error")
    assert capsys.readouterr().err == "an error\n"


def test_long_work_says_what_it_does_every_few_seconds(capsys):
    now = 100.0
    work = WorkLines(lambda: now)
    for now in (100.5, 101.9, 102.0, 103.0, 106.9, 107.0, 107.1):
        work(f"at {now}")
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["at 102.0 ...", "at 107.0 ..."]
    assert captured.out == ""
