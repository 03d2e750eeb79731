# SPDX-License-Identifier: MIT
"""Standard output on a terminal, and elsewhere."""

import io
import sys

import pytest

from tests.unit.cli.test_terminal import HOSTILE, Screen
from virnuc_profiler.cli.live.terminal_text import TerminalText, terminal_output


def on_screen(monkeypatch):
    """Let standard output be a terminal of 40 columns. Not a fixture: pytest replaces the stream when a test begins."""
    screen = Screen()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", "40")
    return screen


def test_lines_are_broken_on_a_terminal(monkeypatch):
    screen = on_screen(monkeypatch)
    with terminal_output():
        print("a sentence that is much too long for a terminal of forty columns")
        print("a part", end="")
        print(" of a line")
        print("no end", end="")
    assert sys.stdout is screen
    assert screen.getvalue() == (
        "a sentence that is much too long for a\n  terminal of forty columns\na part of a line\nno end"
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_is_printed_commands_the_terminal(monkeypatch, text):
    screen = on_screen(monkeypatch)
    with terminal_output():
        print(text)
    assert screen.getvalue().removesuffix("\n").isprintable()


def test_a_pipe_gets_what_is_printed(monkeypatch):
    pipe = io.StringIO()
    monkeypatch.setattr("sys.stdout", pipe)
    monkeypatch.setenv("COLUMNS", "40")
    with terminal_output():
        print("a sentence that is much too long for a terminal of forty columns")
    assert pipe.getvalue().count("\n") == 1


def test_an_unfinished_line_is_shown_when_it_is_flushed():
    screen = Screen()
    text = TerminalText(screen)
    text.write("working ...")
    assert screen.getvalue() == ""
    text.flush()
    assert screen.getvalue() == "working ..."
    assert text.isatty()
    assert text.writable()
    assert (text.encoding, text.errors) == (screen.encoding, screen.errors)
