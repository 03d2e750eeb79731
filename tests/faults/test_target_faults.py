# SPDX-License-Identifier: MIT
"""Targets in a supervised process, with real crashes: each is named, nothing is left, and the next trial runs."""

import json
import signal
from pathlib import Path

import pytest

from tests.support import target_cases
from virnuc_profiler.errors import ModelError, UsageError
from virnuc_profiler.sweep.plan.request import DeviceName, Request
from virnuc_profiler.sweep.plan.workload import read_workload
from virnuc_profiler.sweep.worker.deadlines import Timeouts, Watchdog
from virnuc_profiler.sweep.worker.process_tree import live_pids_in_session
from virnuc_profiler.sweep.worker.supervised_model import SupervisedModel
from virnuc_profiler.sweep.worker.supervisor import Supervisor
from virnuc_profiler.targets.knobs.configuration import KnobSet
from virnuc_profiler.telemetry.reader import read_telemetry

pytestmark = pytest.mark.slow  # starts whole programs

SEQUENCES = 60


@pytest.fixture(scope="module", autouse=True)
def no_extra_time():
    """Drop the extra time for clean-up, and shorten the patience with a process that does not end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("virnuc_profiler.sweep.worker.supervised_model.CLEAN_UP_S", 0.0)
        patch.setattr("virnuc_profiler.sweep.worker.process.STOP_TIMEOUT_S", 2.0)
        patch.setattr("virnuc_profiler.sweep.worker.process.SIGTERM_TIMEOUT_S", 0.5)
        yield


class Supervised:
    """A supervised target with faults, and its workload."""

    def __init__(self, case, folder, progress_s=10.0):
        self.folder = folder
        self.known = target_cases.CASES[case]
        path = folder / "proteins.fasta"
        path.write_text("".join(f">p{number}\n{'MKVLAT' * (number % 3 + 1)}\n" for number in range(SEQUENCES)))
        self.workload = read_workload(path, "a test")
        self.supervisor = Supervisor(Timeouts(120.0, progress_s))
        self.request = Request(
            folder / "out", DeviceName("cpu"), self.known.model, weights=self.known.weights, cooldown_s=0.0,
            target=f"tests.support.faulty_target:{case}",
        )  # fmt: skip
        options = {"device": "cpu", "model": self.known.model, "weights": self.known.weights, "precision": None}
        self.facts = self.supervisor.ask(
            "knobs", Watchdog(start_s=120.0), "target", target=self.request.target, options=options
        )
        self.knobs = KnobSet.from_json(self.facts["knobs"])
        self.model = SupervisedModel(self.request, self.supervisor)

    def configuration(self, fault="none"):
        return self.knobs.baseline.replace(fault=fault, **self.known.knobs)

    def run(self, fault="none", on_progress=lambda done: None):
        return self.model.run_trial(self.workload, self.configuration(fault), self.folder / "out", on_progress)

    def log(self, fault):
        return self.folder / "out" / f"output_{self.configuration(fault).run_id}.log"


@pytest.fixture(scope="module", params=target_cases.parameters())
def supervised(request, tmp_path_factory):
    made = Supervised(request.param, tmp_path_factory.mktemp("target"))
    with made.model:
        yield made


def test_the_process_tells_the_knobs_before_anything_is_planned(supervised):
    assert supervised.knobs.target == supervised.request.target
    assert {"fault", *supervised.known.knobs} <= set(supervised.knobs)
    assert isinstance(supervised.facts["has_probe"], bool)
    assert supervised.model.description["target"]["name"]
    assert supervised.model.conditions().knobs == supervised.knobs


@pytest.mark.parametrize(
    ("fault", "reason", "memory", "words"),
    [
        ("oom_device", "OOM", "device", "CUDA out of memory"),
        ("oom_host", "OOM", "host", "Unable to allocate 60 GiB"),
        ("killed", "error", None, "was killed by SIGKILL"),
        ("exit", "error", None, "ended with exit code 7"),
        ("sys_exit", "error", None, "called sys.exit(3)"),
        ("loader_worker", "worker_crash", None, "was killed by SIGKILL"),
        ("too_few", "error", None, "but 60 went in"),
    ],
)
def test_a_fault_is_named_nothing_is_left_and_the_next_trial_runs(supervised, fault, reason, memory, words):
    before = supervised.supervisor.pid
    result = supervised.run(fault)
    assert (result.status, result.reason, result.memory) == ("failed", reason, memory)
    assert words in result.message
    assert result.evidence
    json.dumps(result.to_json(), allow_nan=False)
    assert supervised.supervisor.pid in (before, None)
    if supervised.supervisor.pid is None:
        assert live_pids_in_session(before) == []
    after = supervised.run()
    assert (after.status, after.cleanup["clean"]) == ("success", True)


def test_a_hang_between_two_batches_is_ended_and_its_output_kept(tmp_path, supervised):
    hanging = Supervised(supervised.request.target.rpartition(":")[2], tmp_path, progress_s=2.0)
    with hanging.model:
        result = hanging.run("hang")
        assert (result.reason, result.evidence["deadline"]) == ("timeout", "hang")
        assert any("hang" in line for line in result.evidence["stderr"])
        assert hanging.log("hang").read_text().startswith("about to hang\n")
        assert result.message.endswith(f"; what it printed is in {hanging.log('hang')}")
        assert read_telemetry(result.telemetry_path)["run_metadata"]["status"] == "interrupted"
        assert hanging.run().succeeded


def test_what_it_prints_is_kept_apart_for_each_trial(supervised, capfd):
    result = supervised.run("prints_and_fails")
    printed = supervised.log("prints_and_fails").read_text().splitlines()
    for line in ("a line of Python", "a line of compiled code", "a line of a child"):
        assert printed.count(line) == 1
    assert str(supervised.log("prints_and_fails")) in result.message
    assert "the moon is full" in result.message
    assert supervised.run().succeeded
    assert not supervised.log("none").exists()
    assert capfd.readouterr().out == ""


def test_what_a_trial_leaves_behind_is_named_and_does_not_spoil_the_next(supervised):
    left = supervised.run("leaves_process").cleanup["processes_left"]
    assert [each["command"] for each in left] == ["sleep 600"]
    assert supervised.run().outcome == "ok"
    (name,) = supervised.run("leaves_segment").cleanup["shared_memory_left"]
    Path("/dev/shm", name).unlink()
    assert supervised.run().outcome == "ok"


def test_a_target_that_ignores_ctrl_c_does_not_keep_the_supervisor_from_ending_it(supervised):
    assert supervised.run("changes_process").succeeded
    assert supervised.run().succeeded


def test_ctrl_c_ends_the_process_and_keeps_what_was_measured(tmp_path, supervised):
    stopped = Supervised(supervised.request.target.rpartition(":")[2], tmp_path)
    with stopped.model:
        pid = stopped.supervisor.pid

        def interrupt(done):
            if done:
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            stopped.run("endless", interrupt)
        assert live_pids_in_session(pid) == []
        run_id = stopped.configuration("endless").run_id
        document = read_telemetry(tmp_path / "out" / f"telemetry_{run_id}.json")
        assert document["run_metadata"]["status"] == "interrupted"
        assert document["summary"]["total_sequences"] > 0


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        ("nonsense", UsageError, "there is no target 'nonsense'"),
        ("tests.support.no_such_module:make", UsageError, "cannot be imported: ModuleNotFoundError"),
        ("tests.support.toy_target:absent", UsageError, "has no function absent"),
        ("tests.support.bad_targets:fails", ModelError, "could not be made: LookupError: the moon is full"),
        ("tests.support.bad_targets:exits", Exception, r"called sys.exit\(2\)"),
        ("tests.support.bad_targets:no_target", UsageError, r"without describe\(\), knobs\(\), run\(\)"),
        ("tests.support.bad_targets:no_name", UsageError, "must be a dict with a name"),
        ("tests.support.bad_targets:bad_knobs", UsageError, "7 is no knob"),
    ],
)
def test_a_target_that_cannot_be_made_is_refused_by_the_process_which_lives_on(supervised, target, error, words):
    options = {"device": "cpu", "model": None, "weights": "auto", "precision": None}
    with pytest.raises(error, match=words):
        supervised.supervisor.ask("knobs", Watchdog(start_s=60.0), "target", target=target, options=options)
    assert supervised.run().succeeded
