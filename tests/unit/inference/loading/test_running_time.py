# SPDX-License-Identifier: MIT
import subprocess

import pytest

from tests.support.command import wait_until
from virnuc_profiler.inference.loading.running_time import RunningClock, stopped_among, stopped_in_tree


class Time:
    """A clock that the test moves, and the processes that are stopped at the moment."""

    def __init__(self):
        self.now = 100.0
        self.stopped = []

    def __call__(self):
        return self.now

    def wait(self, seconds, clock):
        """Wait in a loop that looks at the clock, as it must, every second."""
        for _ in range(seconds):
            self.now += 1.0
            clock()


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def clock(time):
    return RunningClock(lambda: time.stopped, time)


def test_it_runs_like_its_clock_while_nothing_is_stopped(time, clock):
    assert clock() == 100.0
    time.wait(30, clock)
    assert clock() == 130.0
    time.now += 0.1
    assert clock() == pytest.approx(130.1)


def test_it_stands_still_while_a_process_is_stopped(time, clock):
    time.wait(5, clock)
    time.stopped = [7]
    time.wait(15, clock)
    assert (clock(), clock.stopped_pids) == (105.0, {7})
    time.stopped = []
    time.wait(5, clock)
    assert (clock(), clock.stopped_pids) == (110.0, set())


def test_it_stands_still_while_this_process_is_stopped(time, clock):
    time.wait(5, clock)
    time.now += 3600.0  # without a look in between
    assert clock() == 106.0  # one interval may have passed before
    time.wait(4, clock)
    assert clock() == 110.0


@pytest.fixture
def sleeping():
    """A shell with a child."""
    with subprocess.Popen(["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as shell:
        child = int(shell.stdout.readline())
        yield shell.pid, child
        subprocess.run(["kill", "-KILL", str(child), str(shell.pid)], check=True)


def test_stopped_processes_are_found_in_a_tree(sleeping):
    shell, child = sleeping
    assert stopped_in_tree(shell) == []
    subprocess.run(["kill", "-STOP", str(child)], check=True)
    wait_until(lambda: stopped_in_tree(shell) == [child])
    assert stopped_among([shell, child, 2**30]) == [child]
    subprocess.run(["kill", "-CONT", str(child)], check=True)
    wait_until(lambda: stopped_in_tree(shell) == [])
    assert stopped_in_tree(2**30) == []
