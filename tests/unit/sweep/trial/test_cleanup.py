# SPDX-License-Identifier: MIT
import logging
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import replace

import psutil
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.sweep.machine.process_resources import LEAK_BYTES, snapshot_resources
from virnuc_profiler.sweep.trial.cleanup import (
    COOLDOWN_S,
    CleanupReport,
    child_processes,
    cleanup_between_runs,
)

COMPLETE = "Cleanup complete: GPU cache cleared, GC collected, worker cooldown done"


class Runner:
    """Counts how often it was closed."""

    def __init__(self, error=None):
        self.error = error
        self.closed = 0

    def close(self):
        self.closed += 1
        if self.error is not None:
            raise self.error


class Loader(Runner):
    """A runner that also has workers."""

    def __init__(self, workers=(), error=None):
        super().__init__(error)
        self.workers = workers

    def worker_pids(self):
        return [worker.pid for worker in self.workers]


@pytest.fixture
def sleeper():
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    yield process
    process.kill()
    process.join()


def test_loader_and_runner_are_closed_and_the_completion_is_logged(caplog):
    loader, runner = Loader(), Runner()
    with caplog.at_level(logging.DEBUG, "virnuc_profiler"):
        report = cleanup_between_runs(loader, runner, cooldown_s=0)
    assert (loader.closed, runner.closed) == (1, 1)
    assert (logging.DEBUG, COMPLETE) in [(record.levelno, record.message) for record in caplog.records]
    assert report.workers_left == ()
    assert (report.device_memory_before, report.device_memory_after, report.leaked_device_bytes) == (None, None, None)


def test_a_swapped_loader_and_runner_are_refused():
    loader, runner = Loader(), Runner()
    with pytest.raises(TypeError, match=r"got a loader as its runner: pass \(dataloader, runner\) in this order"):
        cleanup_between_runs(runner, loader)
    assert (loader.closed, runner.closed) == (0, 0)


def test_loader_and_runner_are_optional():
    assert not cleanup_between_runs(cooldown_s=0).leaked


def test_a_fixed_cooldown_is_waited_in_full_without_workers():
    started = time.monotonic()
    report = cleanup_between_runs(Loader(), cooldown_s=0.2)
    assert time.monotonic() - started >= 0.2
    assert report.waited_s >= 0.2


def test_a_live_worker_is_reported(sleeper, caplog):
    report = cleanup_between_runs(Loader([sleeper]), cooldown_s=0.1)
    assert report.workers_left == (sleeper.pid,)
    assert f"workers are still alive after clean-up: {sleeper.pid}" in caplog.text
    assert report.as_dict()["workers_left"] == [sleeper.pid]


def test_a_worker_that_the_loader_no_longer_knows_is_found(sleeper):
    assert sleeper.pid in child_processes()
    assert cleanup_between_runs(Loader(), cooldown_s=0, processes_before=()).workers_left == (sleeper.pid,)
    assert cleanup_between_runs(Loader(), cooldown_s=0, processes_before={sleeper.pid}).workers_left == ()


def test_a_worker_that_ends_during_the_cooldown_is_not_reported():
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0.2,))
    process.start()
    assert cleanup_between_runs(Loader([process]), cooldown_s=1.0).workers_left == ()
    process.join()
    assert process.exitcode == 0, "its exit code was taken away"


def test_an_error_while_closing_is_logged_and_cleanup_continues(caplog):
    runner = Runner(error=RuntimeError("broken\nwith advice"))
    loader = Loader()
    cleanup_between_runs(loader, runner, cooldown_s=0)
    assert loader.closed == 1
    assert "Runner could not be closed: broken" in caplog.text
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
def test_a_leak_exceeds_both_thresholds(before, leaked, expected):
    assert CleanupReport((), before, None, leaked, 0.0).leaked is expected


def test_a_deferred_ctrl_c_is_raised_after_the_block():
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


def test_deferred_interrupts_restores_the_handler():
    with deferred_interrupts():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_auto_ends_the_cooldown_when_nothing_is_left(sleeper):
    assert (
        cleanup_between_runs(cooldown_s="auto", resources_before=snapshot_resources()).waited_s < COOLDOWN_S
    )  # it was there before
    before = replace(snapshot_resources(), processes=frozenset())
    threading.Timer(0.2, sleeper.kill).start()
    report = cleanup_between_runs(cooldown_s="auto", resources_before=before)
    assert report.clean
    assert 0 < report.waited_s < COOLDOWN_S


def test_auto_waits_at_most_the_default_cooldown_and_names_the_leaks(sleeper, monkeypatch, caplog):
    monkeypatch.setattr("virnuc_profiler.sweep.trial.cleanup.COOLDOWN_S", 0.3)
    report = cleanup_between_runs(
        cooldown_s="auto", resources_before=replace(snapshot_resources(), processes=frozenset())
    )
    assert not report.clean
    assert [process["pid"] for process in report.as_dict()["processes_left"]] == [sleeper.pid]
    assert f"left after clean-up: process {sleeper.pid}" in caplog.text


def test_unchecked_resources_are_null_in_the_report():
    assert cleanup_between_runs(cooldown_s=0).as_dict()["descriptors_left"] is None
    assert cleanup_between_runs(cooldown_s=0).clean is None


def plain_loader(**options):
    return DataLoader(TensorDataset(torch.arange(40)), batch_size=4, multiprocessing_context="fork", **options)


@pytest.mark.parametrize("persistent", [True, False])
def test_workers_of_a_plain_loader_are_ended_and_a_later_pass_starts_new_ones(persistent):
    loader = plain_loader(num_workers=2, persistent_workers=persistent)
    other = plain_loader(num_workers=1, persistent_workers=persistent)
    running, others = iter(loader), iter(other)
    next(running)
    workers = [psutil.Process(worker.pid) for worker in running._workers]
    assert all(worker.is_running() for worker in workers)
    report = cleanup_between_runs(loader, cooldown_s=0)
    assert report.workers_left == ()
    assert not any(worker.is_running() for worker in workers)
    assert len(list(others)) == 10, "another loader's workers were ended"
    assert len(list(loader)) == 10
    cleanup_between_runs(loader, cooldown_s=0)
    cleanup_between_runs(other, cooldown_s=0)


def test_a_worker_of_a_plain_loader_that_does_not_end_is_reported(monkeypatch):
    monkeypatch.setattr("virnuc_profiler.sweep.trial.cleanup.end_loader_workers", lambda loader: None)
    loader = plain_loader(num_workers=2, persistent_workers=True)
    list(loader)
    report = cleanup_between_runs(loader, cooldown_s=0)
    assert set(report.workers_left) == {worker.pid for worker in loader._iterator._workers}
    assert report.clean is False


def test_a_loader_that_does_not_tell_its_workers_is_not_called_clean():
    report = cleanup_between_runs(object(), cooldown_s=0)
    assert (report.workers_left, report.clean) == (None, None)
    assert report.as_dict()["workers_left"] is None
    snapshot = snapshot_resources()
    assert cleanup_between_runs(object(), cooldown_s=0, resources_before=snapshot).clean is True


def test_device_memory_that_was_not_compared_is_not_clean():
    known = CleanupReport((), 10, 10, 0, 0.0, checked=True)
    assert known.clean is True
    assert replace(known, device_memory_before=None, leaked_device_bytes=None).clean is None
    assert replace(known, checked=False).clean is None
    assert replace(known, workers_left=(1,), checked=False).clean is False
