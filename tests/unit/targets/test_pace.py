# SPDX-License-Identifier: MIT
"""The number of passes follows from the pace of earlier runs, within the time limit and the space on the disk."""

import pytest

from virnuc_profiler.targets.knobs.configuration import BASELINE
from virnuc_profiler.targets.pace import MAX_TOKENS, Pace

OTHER = BASELINE.replace(token_budget=8192)
TOKENS = 1000


def test_without_a_pace_or_seconds_there_is_one_pass():
    pace = Pace()
    assert pace.passes(BASELINE, TOKENS, 3.0) == 1
    pace.measure(BASELINE, 10_000.0, 1.0)
    assert pace.passes(BASELINE, TOKENS, None) == 1


def test_the_own_pace_counts_and_else_that_of_the_latest_run():
    pace = Pace()
    pace.guess(2000.0)
    assert (pace.passes(BASELINE, TOKENS, 3.0), pace.is_measured) == (6, False)
    pace.measure(BASELINE, 10_000.0, 1.0)
    pace.measure(OTHER, 4000.0, 1.0)
    pace.guess(1.0)  # after a measured run, a guess does not count
    assert [pace.passes(one, TOKENS, 3.0) for one in (BASELINE, OTHER)] == [30, 12]
    assert pace.passes(BASELINE.replace(buffer_size=7), TOKENS, 3.0) == 12
    pace.measure(OTHER, None, None)
    assert pace.passes(OTHER, TOKENS, 3.0) == 12


def test_a_pass_that_has_begun_is_run_to_its_end():
    pace = Pace()
    pace.measure(BASELINE, 900.0, 0.0)
    assert pace.passes(BASELINE, TOKENS, 1.0) == 1
    assert pace.passes(BASELINE, TOKENS, 1.2) == 2


@pytest.mark.parametrize(("timeout_s", "passes"), [(None, 30), (2.0, 10), (1.0, 2), (0.5, 1)])
def test_the_passes_end_well_before_the_time_limit(timeout_s, passes):
    pace = Pace(timeout_s)
    pace.measure(BASELINE, 10_000.0, 0.6)
    assert pace.passes(BASELINE, TOKENS, 3.0) == passes


def test_the_copies_do_not_fill_the_disk():
    pace = Pace()
    pace.measure(BASELINE, 1e12, 0.0)
    assert pace.passes(BASELINE, TOKENS, 3.0) == MAX_TOKENS // TOKENS


def test_a_run_whose_time_was_up_tells_its_pace_too():
    pace = Pace(timeout_s=10.0)
    pace.measure(BASELINE, 10_000.0, 1.0)
    pace.measure_broken_off(OTHER, 500.0)
    assert pace.passes(OTHER, TOKENS, 30.0) == 3
