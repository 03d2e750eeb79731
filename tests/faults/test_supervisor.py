# SPDX-License-Identifier: MIT
"""The supervisor with real processes that crash, hang, leak or are killed: nothing is left and the next trial runs."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.support.command import Command, wait_until
from tests.support.faulty_model import Fault
from tests.support.faulty_workers import WorkerFault
from tests.support.sweeps import WORKLOAD
from virnuc_profiler.errors import EnvironmentFailure, UsageError, VirnucError
from virnuc_profiler.sweep.plan.request import DeviceName, Request
from virnuc_profiler.sweep.plan.workload import read_workload
from virnuc_profiler.sweep.worker.deadlines import Timeouts
from virnuc_profiler.sweep.worker.outcomes import ProcessTimeout
from virnuc_profiler.sweep.worker.process_tree import is_subreaper, live_pids_in_session
from virnuc_profiler.sweep.worker.supervised_model import SupervisedModel
from virnuc_profiler.sweep.worker.supervisor import Supervisor
from virnuc_profiler.targets.knobs.configuration import Configuration

pytestmark = pytest.mark.slow  # starts whole programs

FAKE = "tests.support.faulty_model"
REAL_WORKERS = "tests.support.faulty_workers"


@pytest.fixture(scope="module", autouse=True)
def no_extra_time():
    """Drop the extra time for clean-up, so that deadlines expire sooner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("virnuc_profiler.sweep.worker.supervised_model.CLEAN_UP_S", 0.0)
        yield


def request_in(folder, **changes):
    return Request(**{"output_dir": folder, "device": DeviceName("cpu"), "model": "m", "cooldown_s": 0.0, **changes})


def supervised(folder, child_module=FAKE, limits=None, **changes):
    limits = limits or Timeouts(60.0, 1.0)
    return SupervisedModel(request_in(folder, **changes), Supervisor(limits, child_module))


@pytest.fixture
def model(tmp_path):
    with supervised(tmp_path) as model:
        yield model


def run(model, folder, fault, workload=WORKLOAD, num_workers=0):
    configuration = Configuration(num_workers, int(fault), 4096, 50)
    return model.run_trial(workload, configuration, folder, lambda done: None)


def process_of(model):
    return model._supervisor.pid


def test_the_model_is_loaded_once_and_described(model, tmp_path, caplog):
    first = run(model, tmp_path, Fault.NONE)
    second = run(model, tmp_path, Fault.NONE)
    assert first.status == second.status == "success"
    assert first.extra["pid"] == second.extra["pid"] == process_of(model) != os.getpid()
    assert model.description["model_name"] == "m"
    assert model.forecast == "1 GB + 2 MB a token"
    settings = model.conditions().settings
    assert (settings["isolation"], settings["host"]) == ("process", "here")


def test_the_folder_of_sockets_is_removed_also_after_a_kill(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with supervised(tmp_path) as model:
        assert len(list(tmp_path.glob("pymp-*"))) == 1
        assert run(model, tmp_path, Fault.KILLED).status == "failed"
        assert run(model, tmp_path, Fault.NONE).status == "success"
        assert len(list(tmp_path.glob("pymp-*"))) == 1
    assert list(tmp_path.glob("pymp-*")) == []


def test_a_machine_that_lets_no_process_start_is_named(tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(EnvironmentFailure, match="raise the limit with ulimit -n"):
        supervised(tmp_path)


EXPECTED = {
    Fault.KILLED: ("error", "was killed by SIGKILL"),
    Fault.DEAF: ("timeout", "no batch finished"),
    Fault.EXITS: ("error", "ended with exit code 3; it last printed: terminate called after throwing"),
    Fault.CUDA_ERROR: ("cuda_error", "it failed with cuda_error"),
    Fault.ABORTS: ("cuda_error", "was killed by SIGABRT; it last printed: what():  CUDA error: device-side assert"),
    Fault.LEAKS: ("OOM", "it failed with OOM"),
}


@pytest.mark.parametrize("fault", EXPECTED, ids=lambda fault: fault.name)
def test_after_a_fault_the_next_trial_runs_in_a_new_process(model, tmp_path, fault, monkeypatch):
    monkeypatch.setattr("virnuc_profiler.sweep.worker.process.STOP_TIMEOUT_S", 0.5)
    monkeypatch.setattr("virnuc_profiler.sweep.worker.process.SIGTERM_TIMEOUT_S", 0.5)
    before = process_of(model)
    result = run(model, tmp_path, fault)
    reason, words = EXPECTED[fault]
    assert (result.status, result.reason) == ("failed", reason)
    assert words in result.message
    assert result.evidence
    json.dumps(result.to_json(), allow_nan=False)
    assert live_pids_in_session(before) == []
    with pytest.raises(ProcessLookupError):  # reaped, not a zombie
        os.kill(before, 0)
    assert run(model, tmp_path, Fault.NONE).status == "success"
    assert process_of(model) != before


def run_in(model, folder, precision, fault=Fault.NONE):
    configuration = Configuration(0, int(fault), 4096, 50, precision)
    return model.run_trial(WORKLOAD, configuration, folder, lambda done: None)


VARYING = {"model_knobs": {"precision": "bf16"}, "varied": ("precision",)}


def test_another_precision_has_the_model_loaded_again_in_the_same_process(tmp_path):
    with supervised(tmp_path, **VARYING) as model:
        before = process_of(model)
        results = [run_in(model, tmp_path, precision) for precision in ("bf16", "fp32", "fp32", "bf16")]
        assert [result.model_reloaded for result in results] == [False, True, False, True]
        assert [result.model["precision"] for result in results] == ["bf16", "fp32", "fp32", "bf16"]
        assert {result.extra["pid"] for result in results} == {before}
        assert model.conditions().model["precision"] == "varied"


def test_after_a_fault_the_fresh_process_has_the_precision_that_is_wanted(tmp_path):
    with supervised(tmp_path, **VARYING) as model:
        failed = run_in(model, tmp_path, "fp32", Fault.KILLED)
        assert (failed.reason, failed.model["precision"], failed.model_reloaded) == ("error", "fp32", True)
        result = run_in(model, tmp_path, "fp32")
        assert (result.succeeded, result.model["precision"], result.model_reloaded) == (True, "fp32", False)


def test_a_model_that_cannot_be_loaded_fails_its_configurations_and_no_others(tmp_path, caplog):
    with supervised(tmp_path, model="large", **VARYING) as model:
        for _ in range(2):
            failed = run_in(model, tmp_path, "fp32")
            assert (failed.succeeded, failed.reason, failed.memory) == (False, "OOM", "device")
            assert failed.message.startswith("its model could not be loaded: CUDA out of memory")
            assert failed.model == {"model_name": "large", "precision": "fp32"}
        assert caplog.text.count("which is tried again") == 2  # only at the first configuration
        assert run_in(model, tmp_path, "bf16").succeeded


def test_a_hung_process_shows_where_it_hangs(model, tmp_path, monkeypatch):
    monkeypatch.setattr("virnuc_profiler.sweep.worker.process.STOP_TIMEOUT_S", 0.5)
    evidence = run(model, tmp_path, Fault.DEAF).evidence
    assert (evidence["deadline"], evidence["stopped_by"], evidence["signal"]) == ("hang", "SIGKILL", "SIGKILL")
    assert any("in run_trial" in line for line in evidence["stderr"])


def test_out_of_memory_without_a_leak_keeps_the_process(model, tmp_path):
    before = process_of(model)
    assert run(model, tmp_path, Fault.OUT_OF_MEMORY).reason == "OOM"
    assert run(model, tmp_path, Fault.NONE).extra["pid"] == before


def test_an_error_answer_is_raised_unchanged(model, tmp_path):
    with pytest.raises(UsageError, match="not like this"):
        run(model, tmp_path, Fault.REFUSES)
    assert run(model, tmp_path, Fault.NONE).status == "success"


def test_a_message_that_is_too_long_is_not_sent(model, tmp_path):
    result = run(model, tmp_path, Fault.CHATTERS)
    assert (result.status, result.outcome) == ("failed", "error")
    assert "more than the limit of 1,048,576" in result.message
    assert run(model, tmp_path, Fault.NONE).status == "success"


def test_a_process_that_died_while_idle_fails_no_trial(model, tmp_path):
    before = process_of(model)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: not live_pids_in_session(before))
    assert run(model, tmp_path, Fault.NONE).status == "success"


def test_a_death_is_noticed_while_a_descendant_holds_the_pipe(model, tmp_path):
    result = run(model, tmp_path, Fault.FORKS_AND_EXITS)
    assert (result.reason, result.evidence["exit_code"]) == ("error", 7)
    assert result.evidence["stopped_by"] is None


def test_descendants_in_other_sessions_are_ended(tmp_path):
    with supervised(tmp_path) as model:
        run(model, tmp_path, Fault.STARTS_A_DAEMON)
        daemon = int((tmp_path / "daemon").read_text())
        os.kill(daemon, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(daemon, 0)


def test_processes_with_invalid_names_are_handled(tmp_path):
    program = tmp_path / ("é" * 9)  # the kernel truncates it within a character
    program.symlink_to(sys.executable)
    with subprocess.Popen([program, "-c", "input()"], stdin=subprocess.PIPE) as other:
        wait_until(lambda: b"\xc3)" in Path(f"/proc/{other.pid}/stat").read_bytes())
        assert os.getpid() in live_pids_in_session(os.getsid(0))
        other.kill()


def test_a_process_that_cannot_be_restarted_gives_no_result(tmp_path, monkeypatch, caplog):
    with supervised(tmp_path, model="once") as model:
        assert run(model, tmp_path, Fault.KILLED).reason == "error"
        with pytest.raises(VirnucError, match=r"could not be started 3 times in a row: .*out of memory"):
            run(model, tmp_path, Fault.NONE)
    assert caplog.text.count("which is tried again") == 2


def test_a_process_with_another_version_is_refused(tmp_path):
    with supervised(tmp_path, model="upgraded") as model:
        run(model, tmp_path, Fault.KILLED)
        with pytest.raises(UsageError, match=r"versions.torch .*--allow-mixed"):
            run(model, tmp_path, Fault.NONE)


def test_the_time_limit_starts_with_the_measurement(tmp_path):
    with supervised(tmp_path, limits=Timeouts(60.0, 60.0), timeout_s=1.0) as model:
        assert run(model, tmp_path, Fault.PREPARES).status == "success"


@pytest.mark.parametrize("closed", [(0,), (1,), (0, 1), (0, 1, 2)])
def test_closed_standard_streams_do_no_harm(tmp_path, closed):
    command = [
        *(sys.executable, "-m", FAKE, "sweep", "--device", "cpu", "--num-sequences", "8", "--cooldown", "0"),
        *("--steps", "baseline", "--output-dir", str(tmp_path)),
    ]
    code = subprocess.run(
        ["sh", "-c", f'exec "$@" {" ".join(f"{number}>&-" for number in closed)}', "sh", *command], check=False
    ).returncode
    assert code == 0
    assert json.loads((tmp_path / "baseline.json").read_text())["complete"] is True


def test_a_run_over_the_time_limit_is_stopped_and_keeps_its_telemetry(tmp_path):
    with supervised(tmp_path, limits=Timeouts(60.0, 60.0), timeout_s=1.0) as model:
        result = run(model, tmp_path, Fault.RUNS_ON)
        assert (result.reason, result.evidence["deadline"]) == ("timeout", "total")
        assert result.telemetry_path == str(tmp_path / "telemetry_tune_0w_109pf_4096tb_50bs.json")
        assert result.evidence["stopped_by"] == "request"


def test_a_model_that_does_not_load_raises_and_leaves_nothing(tmp_path):
    before, children = is_subreaper(), psutil.Process().children()
    with pytest.raises(ProcessTimeout, match="not ready after 1 s"):
        supervised(tmp_path, limits=Timeouts(1.0, 60.0), model="stuck")
    with pytest.raises(UsageError, match="no such model"):
        supervised(tmp_path, model="absent")
    assert is_subreaper() == before
    assert psutil.Process().children() == children


def test_close_restores_the_settings_of_this_process(tmp_path):
    before = is_subreaper()
    with supervised(tmp_path) as model:
        pid = process_of(model)
        assert is_subreaper()
    assert is_subreaper() == before
    assert not before
    assert live_pids_in_session(pid) == []


@pytest.fixture(scope="class")
def with_workers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    fasta = folder / "proteins.fasta"
    # Enough that workers are still busy when the first pack runs.
    fasta.write_text("".join(f">p{number}\n{'MKVLAT' * 80}\n" for number in range(6000)))
    with supervised(folder, REAL_WORKERS, Timeouts(120.0, 12.0)) as model:
        workload = read_workload(fasta, "file")
        run(model, folder, WorkerFault.NONE, workload, num_workers=2)
        yield model, workload, folder


class TestWorkers:
    """All tests share one model process. While it runs, this process must reap orphans."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            (WorkerFault.ONE_KILLED, "worker_crash"),
            (WorkerFault.ALL_KILLED, "worker_crash"),
            (WorkerFault.BLOCKS, "timeout"),
            (WorkerFault.RAISES, "worker_crash"),
        ],
        ids=lambda value: getattr(value, "name", value),
    )
    def test_workers_that_fail_leave_nothing_and_the_next_trial_runs(self, with_workers, fault, reason):
        model, workload, folder = with_workers
        before = process_of(model)
        result = run(model, folder, fault, workload, num_workers=2)
        assert (result.status, result.reason) == ("failed", reason), result
        wait_until(lambda: not live_pids_in_session(before), within_s=10.0)
        assert run(model, folder, WorkerFault.NONE, workload, num_workers=2).status == "success"
        assert process_of(model) != before


def begun(folder, fault, **options):
    """Start a sweep on the command line; return it in the middle of a trial, with the pid of its model process."""
    command = Command(
        "sweep", "--device", "cpu", "--num-sequences", 8, "--cooldown", 0, "--steps", "dataloader",
        "--num-workers", 0, "--prefetch-factor", int(fault), "--output-dir", folder, program=("-m", FAKE), **options,
    )  # fmt: skip
    running = folder / "telemetry" / "dataloader" / "running"
    wait_until(lambda: running.exists() and running.read_text())
    return command, int(running.read_text())


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda stop: stop.name)
def test_a_signal_stops_the_trial_and_keeps_what_was_measured(tmp_path, stop):
    command, _ = begun(tmp_path, Fault.RUNS_ON)
    os.kill(command.process.pid, stop)
    finished = command.finish()
    assert command.left_behind() == []
    assert finished.code == 1
    assert "stopped" in finished.error
    assert json.loads((tmp_path / "baseline.json").read_text())["complete"] is True
    assert list((tmp_path / "telemetry" / "dataloader").glob("telemetry_*.json"))


def test_in_the_background_only_sigterm_stops(tmp_path):
    ignored = (signal.SIGHUP, signal.SIGINT)  # as nohup and a shell's & have it
    command, _ = begun(tmp_path, Fault.RUNS_ON, ignored=ignored)
    for number in ignored:
        os.kill(command.process.pid, number)
    with pytest.raises(AssertionError, match="it did not happen"):
        wait_until(lambda: command.process.poll() is not None, within_s=0.5)
    os.kill(command.process.pid, signal.SIGTERM)
    finished = command.finish()
    assert command.left_behind() == []
    assert (finished.code, "stopped by SIGTERM" in finished.error) == (1, True)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda stop: stop.name)
def test_a_second_signal_does_not_wait(tmp_path, stop):
    command, child = begun(tmp_path, Fault.DEAF)
    os.kill(command.process.pid, stop)
    with pytest.raises(AssertionError, match="it did not happen"):
        wait_until(lambda: command.process.poll() is not None, within_s=1.0)  # it waits for the deaf process
    os.kill(command.process.pid, stop)
    finished = command.finish()
    assert command.left_behind() == []
    assert live_pids_in_session(child) == []
    assert (finished.code, "stopped" in finished.error) == (1, True)


@pytest.mark.parametrize("fault", [Fault.RUNS_ON, Fault.DEAF, Fault.STOPPED], ids=lambda fault: fault.name)
def test_a_killed_supervisor_leaves_no_process(tmp_path, fault):
    command, child = begun(tmp_path, fault)
    os.kill(command.process.pid, signal.SIGKILL)
    command.finish()
    assert command.left_behind(within_s=60.0) == []  # a forkserver ends after its imports, slow beside other load
    wait_until(lambda: not live_pids_in_session(child), within_s=10.0)


def test_a_sweep_continues_after_faults(tmp_path):
    faults = ",".join(str(int(fault)) for fault in (Fault.KILLED, Fault.NONE, Fault.EXITS, Fault.CUDA_ERROR, 2))
    finished = Command(
        "sweep", "--device", "cpu", "--num-sequences", 8, "--cooldown", 0, "--steps", "dataloader",
        "--num-workers", 1, "--prefetch-factor", faults, "--output-dir", tmp_path, program=("-m", FAKE),
    ).finish()  # fmt: skip
    assert finished.code == 0, finished.err
    assert finished.err.count("random weights are used") == 1
    results = json.loads((tmp_path / "dataloader_sweep.json").read_text())["results"]
    assert [result.get("reason") for result in results] == ["error", None, "error", "cuda_error", None]
