# SPDX-License-Identifier: MIT
"""The rows of live views at any width, with figures that are missing and text that is hostile."""

import io

import pytest

from tests.unit.cli.test_terminal import HOSTILE
from virnuc_profiler.cli.live.view_rows import bar, facts, gpu_facts, headline, packing_of, rate_facts, rendered
from virnuc_profiler.cli.terminal import cells
from virnuc_profiler.telemetry.records import GpuReading

READING = GpuReading(0, 97, 30, 684_000, 1485, 2600, 64, 0, 5_980_000_000)
WIDTHS = [20, 40, 80, 200]


class Stderr(io.StringIO):
    def __init__(self, encoding="utf-8"):
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self):
        return self._encoding

    def isatty(self):
        return True


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")


def rows(title="sweep: packing", seconds=200.0):
    def view(columns):
        yield headline(title, seconds, columns)
        yield bar(0.41, columns)
        yield from facts("trial", ["41% done", *rate_facts(452.0, 99_300.0, 0.994)], columns)
        yield from facts("gpu", gpu_facts(READING), columns)
        yield from facts("failed", [], columns)

    return view


@pytest.mark.usefixtures("plain")
def test_at_80_columns():
    assert rendered(rows())(80).split("\n") == [
        "sweep: packing" + " " * 45 + "about 3 min 20 s left",
        "━" * 30 + "╸" + " " * 44 + "  41%",
        "trial    41% done, 452 sequences/s, 99,300 tokens/s, packing 99.4%",
        "gpu      97% busy, 5.98 GB, 684 W, 1,485 MHz, 64 C",
    ]


@pytest.mark.usefixtures("plain")
def test_a_narrow_terminal_gets_the_most_important_facts():
    assert rendered(rows())(40).split("\n")[2:] == [
        "trial    41% done, 452 sequences/s",
        "gpu      97% busy, 5.98 GB, 684 W",
    ]
    title, left, *_ = rendered(rows("embed: 12 of 80 shards written"))(40).split("\n")
    assert (title, left) == ("embed: 12 of 80 shards written", "about 3 min 20 s left")


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("title", [*HOSTILE, "東京" * 60, "x" * 500, "", "[red]markup[/red]"])
def test_no_row_is_wider_than_the_terminal(columns, title):
    lines = rendered(rows(title))(columns).split("\n")
    assert max(map(cells, lines)) <= columns
    assert all(line.isprintable() for line in lines)


@pytest.mark.usefixtures("plain")
def test_markup_is_text():
    assert rendered(rows("[red]markup[/red]"))(80).startswith("[red]markup[/red]")


def test_colors_only_where_the_terminal_has_them(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("sys.stderr", Stderr())
    assert "\x1b[1m" in rendered(rows())(80)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in rendered(rows())(80)


def test_a_terminal_without_unicode_gets_another_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stderr", Stderr("ascii"))
    assert rendered(rows())(80).isascii()


def test_what_is_not_known_is_left_out():
    assert rate_facts(None, None, None) == ["", "", ""]
    assert gpu_facts(None) == []
    assert list(facts("gpu", gpu_facts(GpuReading(0)), 80)) == []
    assert packing_of(1000, None, 100) is None
    assert packing_of(1000, 20, None) is None
    assert packing_of(1900, 20, 100) == 0.95
    assert packing_of(5000, 20, 100) == 1  # a sequence that exceeds the budget
