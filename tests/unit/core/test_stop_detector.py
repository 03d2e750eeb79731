# SPDX-License-Identifier: MIT
"""The native stop detector in real processes that are stopped, starved, or hold the GIL."""

import ctypes
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.command import wait_until
from virnuc_profiler import _core


@pytest.fixture
def detector():
    detector = _core.StopDetector()
    detector.start()
    yield detector
    detector.stop()


WATCHED = """
import time
from virnuc_profiler import _core
detector = _core.StopDetector()
detector.start()
print("started", flush=True)
input()
before = detector.stopped_ns()  # at once, although the thread may not have noticed yet
detector.stop()
print(before, detector.stops().tolist())
"""


def test_a_stopped_process_notices_it_as_soon_as_it_continues():
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGSTOP)
        stopped_at = time.monotonic()
        time.sleep(1.7)
        process.stdin.write("\n")
        process.stdin.flush()
        process.send_signal(signal.SIGCONT)
        waited = time.monotonic() - stopped_at
        before, stops = process.communicate()[0].split(" ", 1)
    [(start, end, suspended, pid, what)] = eval(stops)
    assert (suspended, pid, what) == (0, process.pid, 0)
    assert 1e9 <= end - start <= 1e9 * waited + 5e8
    assert int(before) == end - start


def test_a_stopped_child_is_recorded_until_it_continues(detector):
    with subprocess.Popen(["sleep", "600"]) as child:
        child.send_signal(signal.SIGSTOP)
        wait_until(lambda: detector.stopped_ns() > 1_200_000_000)
        child.send_signal(signal.SIGCONT)
        wait_until(lambda: len(detector.stops()))
        child.kill()
    detector.stop()
    [stop] = detector.stops()
    assert (stop["pid"], stop["what"]) == (child.pid, 1)
    assert stop["end_ns"] - stop["start_ns"] == detector.stopped_ns() >= 1_200_000_000


def test_a_process_without_a_core_is_not_stopped():
    """Every core is busy with processes of the highest priority that a user may give, and this one has the lowest."""
    script = (
        "import os, time; os.nice(19)\nfrom virnuc_profiler import _core\nd = _core.StopDetector(); d.start()\n"
        "e = time.monotonic() + 3\nwhile time.monotonic() < e: pass\nd.stop(); print(len(d.stops()))"
    )
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3 * (os.cpu_count() or 1))]
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    assert done.stdout == "0\n"


def test_a_thread_that_holds_the_gil_does_not_stop_the_process(detector):
    ctypes.PyDLL(None).usleep(1_500_000)
    detector.stop()
    assert len(detector.stops()) == 0
    assert detector.stopped_ns() == 0


def test_its_thread_ends_with_it(detector):
    detector.stop()
    detector.stop()
    assert detector.cpu_ns() > 0
    with pytest.raises(ValueError, match="started before"):
        detector.start()


def test_a_forked_child_has_none_of_it(detector):
    child = os.fork()
    if child == 0:
        good = detector.stopped_ns() == 0 and len(detector.stops()) == 0
        detector.stop()
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
