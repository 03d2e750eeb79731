# SPDX-License-Identifier: MIT
"""What is left of a sweep."""

from tests.support.sweeps import run_in_journal, small_plan
from virnuc_profiler.sweep.results.journal import read_journal
from virnuc_profiler.sweep.results.remaining import is_confirmation_left, remaining_trials

STEPS = ("baseline", "dataloader", "packing", "confirmation", "validation")


def is_left(folder, steps=STEPS):
    records = read_journal(folder)
    return is_confirmation_left(records, steps, remaining_trials(records, steps, {}))


def test_a_confirmation_is_left_until_it_has_ended_or_has_no_time(tmp_path):
    run_in_journal(tmp_path, begin=small_plan(("baseline", *STEPS[1:3])))
    assert is_left(tmp_path, (*STEPS[:4], "interaction"))  # whose results may be better
    assert not is_left(tmp_path)  # a third of a few seconds is too short for one
    assert not is_left(tmp_path, STEPS[:3])
    (tmp_path / "all").mkdir()
    run_in_journal(tmp_path / "all", begin=small_plan(STEPS))
    assert not is_left(tmp_path / "all")
