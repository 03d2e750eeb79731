# SPDX-License-Identifier: MIT
"""How long a loop is run before CUPTI is started. The capture itself: tests/integration/test_kernels_standin.py."""

import time

import pytest

from virnuc_profiler.capture.kernels.kernel_capture import _warm_up
from virnuc_profiler.capture.start_up.preparation import preparing


def loop(batches, prepared=()):
    """Yield numbers, after work that is noted as the recording of a graph in some of the batches."""
    for number in range(batches):
        if number in prepared:
            with preparing("recording_graphs"):
                time.sleep(0.002)
        yield number


@pytest.mark.parametrize(
    ("prepared", "done"),
    [((), 4), ((0, 1, 2), 13), ((2, 9, 15), 26), ((3, 14), 14)],
    ids=["quiet from the start", "first batches only", "now and then", "quiet for long enough in between"],
)
def test_a_loop_is_run_until_no_graph_was_recorded_for_as_many_batches_as_are_captured(prepared, done):
    iterator = loop(100, prepared)
    _warm_up(iterator, skip=4, quiet=10)
    assert next(iterator) == done


def test_other_preparation_does_not_count():
    with preparing("recording_graphs"):  # before the loop
        time.sleep(0.002)

    def starting():
        with preparing("starting_loader"):
            time.sleep(0.002)
        yield from range(100)

    iterator = starting()
    _warm_up(iterator, skip=0, quiet=10)
    assert next(iterator) == 0


def test_a_loop_that_ends_meanwhile_says_so():
    with pytest.raises(ValueError, match="the loop ended after 12 batches, before CUPTI was to be started"):
        _warm_up(loop(12, (2, 9)), skip=4, quiet=10)
