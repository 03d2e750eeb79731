# SPDX-License-Identifier: MIT
"""Notes on preparation, and a loop whose start-up takes most of the run, in a process of its own."""

import json
import os
import subprocess
import sys
import time

from virnuc_profiler.capture.start_up.preparation import preparing, process_start_ns, start_up_record

SLOW_LOOP = """
import json, sys, time
from virnuc_profiler import BatchProfiler, RunResult, diagnose_run
profiler = BatchProfiler(device="cpu")

class Loader:
    def __init__(self, start_s, first_s):
        self.start_s, self.first_s = start_s, first_s
    def __iter__(self):
        time.sleep(self.start_s)  # as if workers were spawned
        return self.items()
    def items(self):
        time.sleep(self.first_s)  # as if a buffer was filled
        yield from range(12)

with profiler.preparing("open the index"):
    time.sleep(0.5)  # longer than a tenth of the run, however fast imports are
with profiler:
    for item in profiler.batches(Loader(0.5, 0.3)):
        with profiler.stage("forward"):
            time.sleep(0.4 if item == 0 else 0.01)  # as if kernels were compiled
path = profiler.result.save(sys.argv[1])
found = diagnose_run(RunResult.load(path))
print(json.dumps([found.sentence, dict(found.start_up.phases), found.start_up.share, found.start_up.elapsed_ns,
                  found.start_up.before_ns, dict(found.start_up.before), found.further]))
"""


def test_a_loop_whose_start_up_takes_most_of_the_run_says_so_first_with_the_share(tmp_path):
    script = tmp_path / "loop.py"
    script.write_text(SLOW_LOOP)
    begun_ns = time.monotonic_ns()
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "run.json")], capture_output=True, text=True, check=True
    )
    took_ns = time.monotonic_ns() - begun_ns
    sentence, phases, share, elapsed_ns, before_ns, before, further = json.loads(done.stdout.splitlines()[-1])
    assert sentence.startswith("Start-up: ")
    percent = float(sentence.removeprefix("Start-up: ").split("% of the run, ")[0])
    assert percent > 50
    assert "starting the loader and its workers" in sentence
    assert share > 0.5
    assert sum(phases.values()) == elapsed_ns
    assert phases["starting_loader"] >= 0.5e9
    assert phases["data_loading"] >= 0.3e9
    assert phases["first_batch"] >= 0.4e9
    assert 0 < before_ns < took_ns
    assert before["open the index"] >= 0.5e9
    assert further[-1].startswith("Before the run, ")


def test_the_start_of_the_process_is_before_now_and_does_not_move():
    first = process_start_ns()
    assert first is not None
    assert first < time.monotonic_ns()
    time.sleep(0.02)
    assert abs(process_start_ns() - first) < 1_000_000_000
    begun_ns = time.monotonic_ns()
    code = (
        "from virnuc_profiler.capture.start_up.preparation import process_start_ns; import time;"
        "print(process_start_ns(), time.monotonic_ns())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    started, now = map(int, done.stdout.split())
    assert begun_ns - 20_000_000 <= started <= now  # the kernel counts in ticks of 10 ms


def test_a_run_takes_the_notes_that_concern_it():
    with preparing("test: before"):
        time.sleep(0.002)
    start = time.monotonic_ns()
    with preparing("test: during"), preparing("test: inside"):
        time.sleep(0.002)
    end = time.monotonic_ns()
    with preparing("test: after"):
        time.sleep(0.002)
    mine = [part.name for part in start_up_record(first_run=False, run_start_ns=start, run_end_ns=end).parts]
    assert [name for name in mine if name.startswith("test: ")] == ["test: inside", "test: during"]
    first = [part.name for part in start_up_record(first_run=True, run_start_ns=start, run_end_ns=end).parts]
    assert "test: before" in first
    assert "test: after" not in first


WARM_UP_AND_RUNS = """
import json, sys, time
from virnuc_profiler import BatchProfiler
from virnuc_profiler.capture.start_up.preparation import preparing

def run():
    profiler = BatchProfiler(device="cpu")
    with profiler:
        for _ in profiler.batches(range(3)):
            time.sleep(0.002)
    return profiler.result.start_up

with preparing("warming_up"):
    first = run()
print(json.dumps([[one.first_run, [part.name for part in one.parts]] for one in (first, run(), run())]))
"""


def test_a_run_that_warms_up_is_not_the_first_of_its_process():
    done = subprocess.run([sys.executable, "-c", WARM_UP_AND_RUNS], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[False, []], [True, ["warming_up"]], [False, []]]


def test_a_machine_that_sleeps_does_not_make_the_process_older(monkeypatch):
    first = process_start_ns()
    awake = time.clock_gettime_ns
    hour_ns = 3_600_000_000_000  # only the clock that counts sleep goes on
    monkeypatch.setattr(
        time, "clock_gettime_ns", lambda clock: awake(clock) + (hour_ns if clock == time.CLOCK_BOOTTIME else 0)
    )
    assert abs(process_start_ns() - first) < 1_000_000_000


FORK = """
import json, os, time
from virnuc_profiler import BatchProfiler
from virnuc_profiler.capture.start_up.preparation import preparing

with preparing("of the parent"):
    time.sleep(0.002)
with BatchProfiler(device="cpu") as profiler:
    profiler.begin_batch().end()
with preparing("around the fork"):
    time.sleep(0.05)
    forked_ns = time.monotonic_ns()
    child = os.fork()
if child == 0:
    with BatchProfiler(device="cpu") as profiler:
        profiler.begin_batch().end()
    record = profiler.result.start_up
    print(json.dumps([record.first_run, record.process_start_ns - forked_ns, [part.name for part in record.parts]]))
else:
    os.waitpid(child, 0)
"""


def test_a_forked_process_begins_anew():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True)
    first_run, later_ns, parts = json.loads(done.stdout)
    assert first_run
    assert later_ns > -40_000_000  # of the fork, to a tick or two of the system's clock
    assert "of the parent" not in parts
