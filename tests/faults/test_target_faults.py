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
from virnuc_profiler.targets.knobs.knob import IntegerKnob
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


def test_a_hang_that_no_signal_reaches_is_ended_too(tmp_path, supervised):
    deaf = Supervised(supervised.request.target.rpartition(":")[2], tmp_path, progress_s=2.0)
    with deaf.model:
        pid = deaf.supervisor.pid
        result = deaf.run("deaf")
        assert (result.reason, result.evidence["stopped_by"]) == ("timeout", "SIGKILL")
        assert result.telemetry_path is None
        assert live_pids_in_session(pid) == []


def test_a_hang_between_two_batches_is_ended_and_its_output_kept(tmp_path, supervised):
    supervised.known.require_quick_start()
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
            stopped.run("slow", interrupt)
        assert live_pids_in_session(pid) == []
        run_id = stopped.configuration("slow").run_id
        document = read_telemetry(tmp_path / "out" / f"telemetry_{run_id}.json")
        assert document["run_metadata"]["status"] == "interrupted"
        assert document["summary"]["total_sequences"] > 0


def test_a_warm_up_that_kills_the_process_does_not_keep_trials_from_running(tmp_path, caplog):
    module = tmp_path / "my_mortal_runner.py"
    module.write_text(MORTAL)
    request = Request(tmp_path / "out", DeviceName("cpu"), None, cooldown_s=0.0, target=f"{module}:Mortal")
    path = tmp_path / "proteins.fasta"
    path.write_text("".join(f">p{number}\nMKVLAT\n" for number in range(20)))
    workload = read_workload(path, "a test")
    knobs = KnobSet(request.target, (IntegerKnob(name="batch_size", default=8, low=1, high=512, tries=(4, 8)),))
    with SupervisedModel(request, Supervisor(Timeouts(120.0, 20.0))) as model:
        model.warm_up(workload)
        result = model.run_trial(workload, knobs.baseline, tmp_path / "out")
    assert (result.status, result.warmed_up) == ("success", False)
    assert caplog.text.count("the warm-up failed, and trials run without one") == 1
    assert (tmp_path / "out" / "target_output.log").read_text() == "loading ...\n" * 2


MORTAL = """
import multiprocessing, os, signal
import torch
from tests.support.toy_target import ToyTarget

class Records:
    def __init__(self, records):
        self.records = records
    def __len__(self):
        return len(self.records)
    def __getitem__(self, item):
        return self.records[item]

class Mortal(ToyTarget):
    def __init__(self, options):
        print("loading ...")
        super().__init__(options)

    def run(self, workload, configuration, profiler):
        if workload.num_sequences == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        records = Records(list(workload.records()))
        spawned = torch.utils.data.DataLoader(
            records, batch_size=4, num_workers=2, multiprocessing_context="spawn", collate_fn=list,
        )
        assert sum(map(len, spawned)) == workload.num_sequences
        yield from super().run(workload, configuration, profiler)
"""
"""A target in a file of its own, which a short workload kills, with workers that are spawned."""


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
        (
            "tests.support.bad_targets:speechless",
            ModelError,
            r"describe\(\) of .* failed: LookupError: the moon is full",
        ),
        ("tests.support.bad_targets:bad_knobs", UsageError, "7 is no knob"),
    ],
)
def test_a_target_that_cannot_be_made_is_refused_by_the_process_which_lives_on(supervised, target, error, words):
    options = {"device": "cpu", "model": None, "weights": "auto", "precision": None}
    with pytest.raises(error, match=words):
        supervised.supervisor.ask("knobs", Watchdog(start_s=60.0), "target", target=target, options=options)
    assert supervised.run().succeeded
