# SPDX-License-Identifier: MIT
"""The live view of several ranks."""

from dataclasses import asdict

import pytest

from tests.unit.cli.live.test_view_rows import READING, WIDTHS
from virnuc_profiler.cli.live.ranks_view import RanksView
from virnuc_profiler.cli.live.view_rows import rendered
from virnuc_profiler.cli.terminal import cells


def state(share, shards, rate=1700.0, gpu=READING):
    return {
        "share": share,
        "total_tokens": 1_000_000,
        "sequences_per_s": rate,
        "tokens_per_s": 200 * rate,
        "shards": shards,
        "total_shards": 80,
        "gpu": None if gpu is None else asdict(gpu),
    }


@pytest.fixture
def view(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    return RanksView(4)


def test_each_rank_has_a_row(view):
    view.note(0, state(0.5, 10))
    view.note(1, state(0.52, 11, gpu=None))
    view.note(2, state(0.4, 9))
    view.note(2, None)
    title, bar, *rows = rendered(view.rows)(80).split("\n")
    assert title.startswith("embed on 4 ranks, 1 ended")
    assert title.endswith("about 1 s left")
    assert bar.endswith("  52%")
    assert rows == [
        "all      3,400 sequences/s, 680,000 tokens/s",
        "rank 0      1,700 sequences/s, 97% busy, 10 shards, 5.98 GB, 684 W, 1,485 MHz",
        "rank 1      1,700 sequences/s, 11 shards",
        "rank 2   ended, 9 shards",
        "rank 3   starting",
    ]


def test_a_rank_that_is_started_again_runs_again(view):
    view.note(0, None)
    view.note(0, state(0.1, 0))
    assert "0 ended" in rendered(view.rows)(80)


@pytest.mark.parametrize("columns", WIDTHS)
def test_at_any_width(view, columns):
    for index in range(4):
        view.note(index, state(0.5, 10))
    assert max(map(cells, rendered(view.rows)(columns).split("\n"))) <= columns


def test_states_of_another_form_say_nothing(view):
    view.note(0, {"share": "x", "tokens_per_s": None})
    assert "rank 0" in rendered(view.rows)(80)
