# SPDX-License-Identifier: MIT
"""The live view of a sweep."""

import pytest

from tests.support.sweeps import WORKLOAD, failure, success
from tests.unit.cli.live.test_view_rows import READING, WIDTHS
from virnuc_profiler.cli.live.sweep_progress import LiveSweep
from virnuc_profiler.cli.live.sweep_view import sweep_rows
from virnuc_profiler.cli.live.view_rows import rendered
from virnuc_profiler.cli.terminal import cells
from virnuc_profiler.sweep.trial.loaded_model import LiveFigures
from virnuc_profiler.targets.knobs.configuration import BASELINE


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def sweep(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    clock = Clock()
    sweep = LiveSweep([WORKLOAD] * 4, 0.0, clock, confirms=True, figures=lambda: LiveFigures(batches=25, gpu=READING))
    for result in (success(BASELINE, 123.4), failure(BASELINE)):
        sweep.trial_started("packing", BASELINE, WORKLOAD)
        clock.now += 10
        sweep.trial_finished("packing", result)
    sweep.trial_started("packing", BASELINE, WORKLOAD)
    for _ in range(2):
        clock.now += 2
        sweep.trial_counted(50_000 * int(clock.now - 20))
        sweep.trial_progressed(200 * int(clock.now - 20))
    return sweep


def shown(sweep, columns):
    return rendered(lambda width: sweep_rows(sweep, width))(columns).split("\n")


def test_at_80_columns(sweep):
    title, bar, *facts = shown(sweep, 80)
    assert title == "sweep: 3 of 4, packing: 4w 4pf 4096tb 2000bs      about 16 s left + confirmation"
    assert bar.endswith("  62%")
    assert facts == [
        "trial    47% done, 200 sequences/s, 50,000 tokens/s, packing 100.0%",
        "gpu      97% busy, 5.98 GB, 684 W, 1,485 MHz, 64 C",
        "fastest  123.4 sequences/s with 4w 4pf 4096tb 2000bs",
        "failed   1 OOM",
    ]


@pytest.mark.parametrize("columns", WIDTHS)
def test_at_any_width(sweep, columns):
    lines = shown(sweep, columns)
    assert max(map(cells, lines)) <= columns
    assert len(lines) == (6 if columns >= 80 else 7)


def test_before_the_first_trial():
    assert shown(LiveSweep([WORKLOAD], 0.0), 80)[0] == "sweep: warming up the model"
