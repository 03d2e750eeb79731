# SPDX-License-Identifier: MIT
import logging
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.sweep.machine.leak_limits import LEAK_BYTES
from virnuc_profiler.sweep.machine.process_resources import holdings
from virnuc_profiler.sweep.trial.cleanup import (
    COOLDOWN_S,
    CleanupReport,
    child_processes,
    cleanup_between_runs,
)

COMPLETE = "Cleanup complete: GPU cache cleared, GC collected, worker cooldown done"


class Part:
    """A loader or a runner."""

    def __init__(self, workers=(), error=None):
        self.workers = workers
        self.error = error
        self.closed = 0

    def worker_pids(self):
        return [worker.pid for worker in self.workers]

    def close(self):
        self.closed += 1
        if self.error is not None:
            raise self.error


@pytest.fixture
def sleeper():
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    yield process
    process.kill()
    process.join()


def test_both_are_closed_and_it_says_so(caplog):
    loader, runner = Part(), Part()
    with caplog.at_level(logging.DEBUG, "virnuc_profiler"):
        report = cleanup_between_runs(loader, runner, cooldown_s=0)
    assert (loader.closed, runner.closed) == (1, 1)
    assert (logging.DEBUG, COMPLETE) in [(record.levelno, record.message) for record in caplog.records]
    assert report.workers_left == ()
    assert (report.device_memory_before, report.device_memory_after, report.leaked_device_bytes) == (None, None, None)


def test_nothing_to_close_is_fine():
    assert not cleanup_between_runs(cooldown_s=0).leaked


def test_the_pause_is_kept_in_full_though_no_worker_lives():
    started = time.monotonic()
    report = cleanup_between_runs(Part(), cooldown_s=0.2)
    assert time.monotonic() - started >= 0.2
    assert report.waited_s >= 0.2


def test_a_worker_that_lives_on_is_reported(sleeper, caplog):
    report = cleanup_between_runs(Part([sleeper]), cooldown_s=0.1)
    assert report.workers_left == (sleeper.pid,)
    assert f"worker processes still live after clean-up: {sleeper.pid}" in caplog.text
    assert report.as_dict()["workers_left"] == [sleeper.pid]


def test_a_worker_that_the_loader_has_forgotten_is_found(sleeper):
    assert sleeper.pid in child_processes()
    assert cleanup_between_runs(Part(), cooldown_s=0, processes_before=()).workers_left == (sleeper.pid,)
    assert cleanup_between_runs(Part(), cooldown_s=0, processes_before={sleeper.pid}).workers_left == ()


def test_a_worker_that_ends_during_the_pause_is_not_left():
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0.2,))
    process.start()
    assert cleanup_between_runs(Part([process]), cooldown_s=1.0).workers_left == ()
    process.join()
    assert process.exitcode == 0, "its exit code was taken away"


def test_what_cannot_be_closed_stops_nothing(caplog):
    runner = Part(error=RuntimeError("broken\nwith advice"))
    loader = Part()
    cleanup_between_runs(loader, runner, cooldown_s=0)
    assert loader.closed == 1
    assert "Part could not be closed: broken" in caplog.text
    assert "advice" not in caplog.text


@pytest.mark.parametrize(
    ("before", "leaked", "expected"),
    [
        (None, None, False),
        (10**9, LEAK_BYTES, False),
        (10**9, LEAK_BYTES + 1, True),
        (10**10, LEAK_BYTES + 1, False),
        (10**10, 2 * 10**8 + 1, True),
    ],
)
def test_a_leak_is_more_than_two_percent_and_more_than_libraries_keep(before, leaked, expected):
    assert CleanupReport((), before, None, leaked, 0.0).leaked is expected


def test_ctrl_c_comes_after_the_block():
    done = []

    def work():
        with deferred_interrupts():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            done.append("written")
        done.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["written"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_ctrl_c_the_block_changes_nothing():
    with deferred_interrupts():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_auto_waits_no_longer_than_the_checks_need(sleeper):
    assert cleanup_between_runs(cooldown_s="auto", before=holdings()).waited_s < COOLDOWN_S  # it was there before
    before = replace(holdings(), processes=frozenset())
    threading.Timer(0.2, sleeper.kill).start()
    report = cleanup_between_runs(cooldown_s="auto", before=before)
    assert report.clean
    assert 0 < report.waited_s < COOLDOWN_S


def test_auto_ends_with_the_default_pause_and_names_what_is_left(sleeper, monkeypatch, caplog):
    monkeypatch.setattr("virnuc_profiler.sweep.trial.cleanup.COOLDOWN_S", 0.3)
    report = cleanup_between_runs(cooldown_s="auto", before=replace(holdings(), processes=frozenset()))
    assert not report.clean
    assert [process["pid"] for process in report.as_dict()["processes_left"]] == [sleeper.pid]
    assert f"still there after clean-up: process {sleeper.pid}" in caplog.text


def test_what_was_not_looked_for_is_null():
    assert cleanup_between_runs(cooldown_s=0).as_dict()["descriptors_left"] is None
