# SPDX-License-Identifier: MIT
"""Runs that are stopped in the middle: they are marked, and the time counts towards no limit."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.command import Command, wait_until
from tests.support.faulty_model import Fault
from tests.support.faulty_workers import STOPPED_S, WorkerFault
from tests.support.sweeps import WORKLOAD
from virnuc_profiler.inference.loading.running_time import stopped_among
from virnuc_profiler.sweep.plan.request import DeviceName, Request
from virnuc_profiler.sweep.plan.workload import read_workload
from virnuc_profiler.sweep.worker.deadlines import Timeouts
from virnuc_profiler.sweep.worker.supervised_model import SupervisedModel
from virnuc_profiler.sweep.worker.supervisor import Supervisor
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.reader import read_telemetry
from virnuc_profiler.telemetry.run_result import RunResult

pytestmark = pytest.mark.slow  # starts whole programs

FAKE = "tests.support.faulty_model"
REAL_WORKERS = "tests.support.faulty_workers"


@pytest.fixture(autouse=True)
def no_extra_time(monkeypatch):
    """Drop the extra time for clean-up, so that deadlines expire sooner."""
    monkeypatch.setattr("virnuc_profiler.sweep.worker.supervised_model.CLEAN_UP_S", 0.0)


def supervised(folder, child_module, limits):
    request = Request(output_dir=folder, device=DeviceName("cpu"), model="m", cooldown_s=0.0)
    return SupervisedModel(request, Supervisor(limits, child_module))


def continue_after(seconds, pid):
    """Continue a process once it has been stopped for some time."""
    wait_until(lambda: stopped_among([pid]))
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


def test_a_stopped_model_process_does_not_hang(tmp_path, caplog):
    with supervised(tmp_path, FAKE, Timeouts(60.0, 1.5)) as model:
        pid = model._supervisor.pid
        threading.Thread(target=continue_after, args=(4.0, pid)).start()
        result = model.run_trial(WORKLOAD, Configuration(0, int(Fault.STOPPED), 4096, 50), tmp_path, lambda done: None)
        assert result.succeeded
        assert result.extra["pid"] == pid
    assert f"process {pid} of the model is stopped" in caplog.text
    assert f"kill -CONT {pid}" in caplog.text


def test_a_stopped_model_process_can_be_ended(tmp_path):
    with supervised(tmp_path, FAKE, Timeouts(60.0, 1.5)) as model:
        os.kill(model._supervisor.pid, signal.SIGSTOP)
        ended = model._supervisor._end(ask=True)
    assert (ended["stopped_by"], ended["exit_code"]) == ("request", 0)


def test_a_stopped_worker_is_no_hang_and_marks_the_run(tmp_path):
    fasta = tmp_path / "proteins.fasta"
    # Enough that workers are still busy when the first pack runs.
    fasta.write_text("".join(f">p{number}\n{'MKVLAT' * 80}\n" for number in range(6000)))
    workload = read_workload(fasta, "file")
    with supervised(tmp_path, REAL_WORKERS, Timeouts(120.0, 120.0)) as model:
        for fault in (WorkerFault.NONE, WorkerFault.ONE_STOPPED):  # the first one starts the server of the workers
            result = model.run_trial(workload, Configuration(2, int(fault), 4096, 50), tmp_path, lambda done: None)
            assert result.outcome == ("ok" if fault == WorkerFault.NONE else "interrupted"), result
            model._supervisor.limits = Timeouts(120.0, STOPPED_S - 1)
    assert result.succeeded
    assert result.stopped_sec > STOPPED_S - 2
    assert result.evidence["sequences"] == 6000
    run = RunResult.load(result.run_path)
    assert {stop.what for stop in run.stops} == {"descendant"}


def test_a_supervisor_and_its_model_that_are_both_stopped_go_on(tmp_path):
    command = Command(
        "sweep", "--device", "cpu", "--num-sequences", 8, "--cooldown", 0, "--steps", "dataloader", "--num-workers", 0,
        "--prefetch-factor", int(Fault.RUNS_ON), "--output-dir", tmp_path, "--progress-timeout", 2,
        program=("-m", FAKE),
    )  # fmt: skip
    running = tmp_path / "telemetry" / "dataloader" / "running"
    wait_until(lambda: running.exists() and running.read_text())
    both = [int(running.read_text()), command.process.pid]
    for pid in both:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(5.0)
    for pid in reversed(both):  # the supervisor looks before there is any message
        os.kill(pid, signal.SIGCONT)
    with pytest.raises(AssertionError, match="it did not happen"):
        wait_until(lambda: command.process.poll() is not None or '"deadline"' in journal(tmp_path), within_s=2.0)
    os.kill(command.process.pid, signal.SIGINT)
    assert command.finish().code == 1
    assert command.left_behind() == []


def journal(folder):
    return (folder / "journal.jsonl").read_text()


TRIAL = """
import json, sys, time, torch
from virnuc_profiler import run_single_gpu_benchmark

def model(tokens, cu_seqlens, max_seqlen):
    time.sleep(0.1)
    return torch.ones(len(tokens), 4)

if __name__ == "__main__":
    result = run_single_gpu_benchmark(
        sys.argv[1], sys.argv[2], model, "cpu", 0, 1, 4096, 50, cooldown_s=0.0, timeout_s=float(sys.argv[3]),
        on_progress=lambda done: print(done, flush=True),
    )
    print(json.dumps(result), flush=True)
"""


class Freezer:
    """A control group that is frozen, as ``docker pause`` does it."""

    def __init__(self, pid):
        self.folder = Path("/sys/fs/cgroup/freezer") / f"virnuc_profiler_test_{os.getpid()}"
        try:
            self.folder.mkdir()
        except OSError as error:
            pytest.skip(f"no control group can be made here: {error}")
        (self.folder / "cgroup.procs").write_text(str(pid))

    def stop(self):
        (self.folder / "freezer.state").write_text("FROZEN")

    def go_on(self):
        (self.folder / "freezer.state").write_text("THAWED")

    def close(self):
        wait_until(lambda: not (self.folder / "cgroup.procs").read_text())
        self.folder.rmdir()


class Signals:
    """The signals that Slurm sends to suspend and resume a job."""

    def __init__(self, pid):
        self.pid = pid

    def stop(self):
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.pid, signal.SIGCONT)

    def close(self):
        pass


@pytest.mark.parametrize("way", [Signals, Freezer])
def test_a_run_that_was_stopped_is_interrupted_and_not_over_time(tmp_path, way):
    fasta = tmp_path / "proteins.fasta"
    fasta.write_text("".join(f">p{number}\n{'MKVLAT' * 80}\n" for number in range(200)))  # about 25 batches
    script = tmp_path / "trial.py"
    script.write_text(TRIAL)
    command = [sys.executable, str(script), str(fasta), str(tmp_path / "out"), "12"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            while int(process.stdout.readline()) < 20:
                pass
            host = way(process.pid)
            host.stop()
            time.sleep(13.0)  # longer than the time limit of the run
            host.go_on()
            result = json.loads(process.communicate()[0].splitlines()[-1])
            host.close()
        finally:
            process.kill()
    assert (result["status"], result["outcome"]) == ("success", "interrupted"), result
    assert 12.0 < result["stopped_sec"] < result["elapsed_sec"]
    assert result["sequences_per_sec"] == pytest.approx(200 / result["elapsed_sec"])
    telemetry = read_telemetry(result["telemetry_path"])
    assert telemetry["summary"]["stopped_seconds"] == result["stopped_sec"]
    assert "The run was interrupted: this process stood still for" in telemetry["summary"]["diagnosis"]
