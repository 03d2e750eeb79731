# SPDX-License-Identifier: MIT
"""Targets that are measured in this process: what they do right, and all they can do wrong without ending it."""

import json
import multiprocessing
import signal
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import psutil
import pytest

from tests.support import target_cases
from tests.support.faulty_target import HELD
from tests.support.toy_target import ToyTarget
from virnuc_profiler import pack_statistics
from virnuc_profiler.analysis.memory_footprint import MemoryFootprint
from virnuc_profiler.sweep.plan.request import DeviceName, Request
from virnuc_profiler.sweep.plan.workload import read_workload
from virnuc_profiler.sweep.trial import contamination
from virnuc_profiler.sweep.trial.measured_target import MeasuredTarget
from virnuc_profiler.sweep.trial.memory_forecast import MemoryForecast
from virnuc_profiler.targets.knobs.knob import ChoiceKnob
from virnuc_profiler.telemetry.reader import read_telemetry
from virnuc_profiler.telemetry.run_result import RunResult

SEQUENCES = 60
TOKENS = sum(6 * (number % 3 + 1) + 2 for number in range(SEQUENCES))


@pytest.fixture(autouse=True)
def no_recorded_leaks(monkeypatch):
    monkeypatch.setattr(contamination, "_recorded_leaks", [])


@pytest.fixture
def workload(tmp_path):
    path = tmp_path / "proteins.fasta"
    path.write_text("".join(f">p{number}\n{'MKVLAT' * (number % 3 + 1)}\n" for number in range(SEQUENCES)))
    return read_workload(path, "a test")


@pytest.fixture(params=target_cases.parameters())
def case(request):
    return request.param


@pytest.fixture
def measure(case, tmp_path):
    """Return a function that makes a measured target of the case, which is closed in the end."""
    made = []

    def make(**options):
        known = target_cases.CASES[case]
        values = {"model": known.model, "weights": known.weights, "cooldown_s": "auto", **options}
        target = f"tests.support.faulty_target:{case}"
        made.append(MeasuredTarget(Request(tmp_path / "out", DeviceName("cpu"), target=target, **values)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def run(measure, workload, case, tmp_path):
    """Return a function that measures a fault with one measured target."""
    measured = measure()

    def run(fault="none", **knobs):
        values = {**target_cases.CASES[case].knobs, **knobs}
        configuration = measured.knobs.baseline.replace(fault=fault, **values)
        return measured.run_trial(workload, configuration, tmp_path / "out")

    return run


def test_a_success_has_the_figures_of_its_telemetry_and_says_what_ran(run):
    result = run()
    assert (result.status, result.outcome, result.passes) == ("success", "ok", 1)
    assert result.cleanup["clean"] is True
    document = read_telemetry(result.telemetry_path)
    summary, metadata = document["summary"], document["run_metadata"]
    assert (summary["total_sequences"], summary["total_tokens"]) == (SEQUENCES, TOKENS)
    assert metadata["workload"]["num_sequences"] == SEQUENCES
    assert metadata["target"]["name"]
    assert metadata["config"] == result.configuration.to_json()
    assert result.tokens_per_sec == pytest.approx(TOKENS / result.elapsed_sec)
    assert summary["diagnosis"]
    assert RunResult.load(result.run_path).total_sequences == SEQUENCES
    json.dumps(result.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("fault", "reason", "memory", "words"),
    [
        ("oom_device", "OOM", "device", "CUDA out of memory"),
        ("oom_host", "OOM", "host", "Unable to allocate 60 GiB"),
        ("error", "error", None, "LookupError: the moon is full"),
        ("sys_exit", "error", None, "called sys.exit(3)"),
        ("too_few", "error", None, "delivered and "),
        ("too_many", "error", None, "sequences, but 60 went in"),
        ("endless", "error", None, "sequences, but 60 went in"),
        ("no_batches", "error", None, "0 sequences recorded, but 60 went in"),
        ("no_packing", "error", None, "0 sequences recorded in "),
        ("yields_text", "error", None, "yielded 'a batch' after a batch"),
        ("no_iterator", "error", None, "returned None; it must yield"),
        ("loader_worker", "worker_crash", None, "was killed by SIGKILL"),
        ("loader_error", "worker_crash", None, "the moon is full"),
        ("pool_worker", "worker_crash", None, "terminated abruptly"),
    ],
)
def test_a_failure_says_what_happened_and_the_next_run_succeeds(run, fault, reason, memory, words):
    result = run(fault)
    assert (result.status, result.reason, result.memory) == ("failed", reason, memory)
    assert words in result.message
    assert result.evidence
    assert result.cleanup["clean"] is True
    assert read_telemetry(result.telemetry_path)["run_metadata"]["failure"]["reason"] == reason
    assert run().status == "success"


def test_the_time_limit_ends_a_run_after_a_batch_and_closes_it(measure, workload, case, tmp_path):
    measured = measure(timeout_s=0.3)
    configuration = measured.knobs.baseline.replace(fault="slow", **target_cases.CASES[case].knobs)
    result = measured.run_trial(workload, configuration, tmp_path)
    assert (result.reason, result.evidence["limit_sec"]) == ("timeout", 0.3)
    assert "did not end within its limit of 0.3 s" in result.message
    assert measured._target.target.ended[-1] == "slow"


def test_a_run_that_is_done_when_its_time_is_up_has_succeeded(measure, tmp_path, case):
    path = tmp_path / "one.fasta"
    path.write_text(">p\nMKVLAT\n")
    measured = measure(timeout_s=0.3)
    configuration = measured.knobs.baseline.replace(fault="slow", **target_cases.CASES[case].knobs)
    result = measured.run_trial(read_workload(path, "a test"), configuration, tmp_path)
    assert result.status == "success"
    assert result.elapsed_sec > 0.3


@pytest.mark.parametrize("fault", ["ctrl_c", "ctrl_c_caught", "ctrl_c_raised", "ctrl_c_leaving"])
def test_ctrl_c_closes_the_run_and_is_passed_on_once_everything_is_written(measure, workload, case, tmp_path, fault):
    measured = measure()
    before = signal.getsignal(signal.SIGINT)
    configuration = measured.knobs.baseline.replace(fault=fault, **target_cases.CASES[case].knobs)
    with pytest.raises(KeyboardInterrupt):
        measured.run_trial(workload, configuration, tmp_path)
    assert measured._target.target.ended[-1] == fault
    assert signal.getsignal(signal.SIGINT) is before
    while HELD:
        assert HELD.pop().poll() is not None
    document = read_telemetry(tmp_path / f"telemetry_{configuration.run_id}.json")
    assert document["run_metadata"]["status"] == "interrupted"


def test_a_process_that_is_left_is_named_and_ended(run, caplog):
    result = run("leaves_process")
    assert result.outcome == "ok"
    (left,) = result.cleanup["processes_left"]
    assert left["command"] == "sleep 600"
    HELD.pop().poll()
    assert not psutil.pid_exists(left["pid"])
    assert "left 1 process running, now ended" in caplog.text
    assert run().outcome == "ok"


def test_shared_memory_that_is_left_is_named_and_spoils_the_runs_after_it(run):
    first = run("leaves_segment")
    (name,) = first.cleanup["shared_memory_left"]
    try:
        assert first.outcome == "ok"
        assert run().reason == "contaminated"
    finally:
        Path("/dev/shm", name).unlink()
    assert run().outcome == "ok"


def test_files_that_are_left_open_are_named(run):
    result = run("leaves_files")
    assert result.outcome == "ok"
    assert result.cleanup["descriptor_growth"] == {"file": 3}
    while HELD:
        HELD.pop().close()
    assert run().cleanup["clean"] is True


def test_what_it_prints_goes_to_a_file_beside_the_telemetry(run, tmp_path, capfd):
    result = run("prints_and_fails")
    log = tmp_path / "out" / f"output_{result.configuration.run_id}.log"
    printed = log.read_text().splitlines()
    for line in ("a line of Python", "a line of compiled code", "a line of a child"):
        assert line in printed
    assert result.message.endswith(f"; what it printed is in {log}")
    assert capfd.readouterr().out == ""
    print("after it")
    assert capfd.readouterr().out == "after it\n"
    succeeded = run("prints")
    assert succeeded.message is None
    run()
    assert not (tmp_path / "out" / f"output_{run().configuration.run_id}.log").exists()


def test_what_it_changes_in_the_process_is_put_back_and_named(run):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), Path.cwd()
    result = run("changes_process")
    assert result.succeeded
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), Path.cwd()) == before
    assert multiprocessing.get_start_method(allow_none=True) != "spawn"
    changed = read_telemetry(result.telemetry_path)["run_metadata"]["put_back_after_run"]
    assert any("SIGINT" in one for one in changed)
    assert any("spawn" in one for one in changed)


def test_a_short_workload_is_run_several_times_by_a_pace_that_was_measured(measure, workload, case, tmp_path):
    target_cases.CASES[case].require_quick_start()
    measured = measure(trial_seconds=0.2)
    measured.warm_up(workload)
    configuration = measured.knobs.baseline.replace(**target_cases.CASES[case].knobs)
    for _ in range(2):
        result = measured.run_trial(workload, configuration, tmp_path)
        summary = read_telemetry(result.telemetry_path)["summary"]
        assert result.warmed_up
        assert summary["passes"] == result.passes > 1
        assert summary["total_sequences"] == result.passes * SEQUENCES


def test_sequences_that_are_cut_in_its_file_are_counted_and_named_once(tmp_path, caplog):
    path = tmp_path / "long.fasta"
    path.write_text("".join(f">p{number}\n{'M' * length}\n" for number, length in enumerate((1022, 1023, 3000))))
    workload = read_workload(path, "a test")
    with MeasuredTarget(Request(tmp_path, DeviceName("cpu"), None, target="tests.support.toy_target:make")) as measured:
        results = [measured.run_trial(workload, measured.knobs.baseline, tmp_path) for _ in range(2)]
    assert [one.truncated_sequences for one in results] == [2, 2]
    assert caplog.text.count("not everything was run as it stands in the file: 2 sequences cut to 1,022") == 1


class CountsPadding(ToyTarget):
    def run(self, workload, configuration, profiler):
        lengths = [len(residues) + 2 for _, residues in workload.records()]
        for batch in profiler.batches([lengths]):
            ends = np.arange(len(batch) + 1, dtype=np.int32) * max(batch)
            profiler.current_batch.set_packing(pack_statistics(ends, int(ends[-1])))
            yield len(batch)


counts_padding = CountsPadding


def test_a_target_that_counts_padding_as_tokens_is_told_so(workload, tmp_path, caplog):
    with MeasuredTarget(Request(tmp_path, DeviceName("cpu"), None, target=f"{__name__}:counts_padding")) as measured:
        assert measured.run_trial(workload, measured.knobs.baseline, tmp_path).succeeded
    assert f"1,200 tokens recorded, but the sequences have {TOKENS}, BOS and EOS included" in caplog.text


class Uneven(ToyTarget):
    """One configuration is 50 times slower than the other."""

    def knobs(self):
        return [ChoiceKnob(name="pace", default="fast", choices=("fast", "slow"))]

    def run(self, workload, configuration, profiler):
        records = list(workload.records())
        for batch in profiler.batches([records[start : start + 10] for start in range(0, len(records), 10)]):
            lengths = np.array([len(residues) + 2 for _, residues in batch])
            ends = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
            profiler.current_batch.set_packing(pack_statistics(ends, int(len(batch) * lengths.max())))
            time.sleep(0.001 if configuration.pace == "fast" else 0.05)
            yield len(batch)


uneven = Uneven


def test_passes_that_a_faster_configuration_could_run_do_not_cost_a_slower_one_its_time_limit(
    workload, tmp_path, caplog
):
    request = Request(tmp_path, DeviceName("cpu"), None, target=f"{__name__}:uneven", trial_seconds=0.5, timeout_s=1.0)
    with MeasuredTarget(request) as measured:
        fast = measured.run_trial(workload, measured.knobs.baseline, tmp_path)
        slow = measured.run_trial(workload, measured.knobs.baseline.replace(pace="slow"), tmp_path)
    assert fast.passes > 20
    assert (slow.status, slow.message) == ("success", None)
    assert slow.passes < 4
    assert "pace=slow is run again" in caplog.text


def test_passes_that_a_slower_configuration_needs_do_not_make_a_faster_one_too_short(workload, tmp_path):
    request = Request(tmp_path, DeviceName("cpu"), None, target=f"{__name__}:uneven", trial_seconds=0.5)
    with MeasuredTarget(request) as measured:
        slow = measured.run_trial(workload, measured.knobs.baseline.replace(pace="slow"), tmp_path)
        fast = measured.run_trial(workload, measured.knobs.baseline, tmp_path)
    assert fast.passes > 3 * slow.passes


def test_conditions_name_the_target_and_its_knobs(measure):
    conditions = measure().conditions()
    assert conditions.knobs.target.startswith("tests.support.faulty_target:")
    assert "fault" in conditions.knobs
    assert conditions.model["target"]["name"]
    assert conditions.differences(measure().conditions()) == []


def test_the_forecast_of_a_target_keeps_configurations_from_being_run_that_cannot_fit(workload, tmp_path, monkeypatch):
    probed = []

    def forecast(probe, device, limit_bytes):
        probe(2048)
        probed.append((str(device), limit_bytes))
        return MemoryForecast(MemoryFootprint(1e6, 10**9), lambda: 1_100_000_000)

    monkeypatch.setattr("virnuc_profiler.sweep.trial.measured_target.forecast_target", forecast)
    request = Request(tmp_path / "out", DeviceName("cpu"), None, target="tests.support.toy_target:make")
    with MeasuredTarget(request) as measured:
        assert probed == [("cpu", None)]
        large = measured.run_trial(workload, measured.knobs.baseline.replace(batch_size=60), tmp_path)
        assert (large.predicted, large.reason, large.memory) == (True, "OOM", "device")
        assert "predicted to need" in large.message
        assert measured.run_trial(workload, measured.knobs.baseline.replace(batch_size=4), tmp_path).succeeded
        assert measured.conditions().model["bytes_per_token"] == 1e6


class Reloaded(ToyTarget):
    """A target with a knob whose values need a model of their own."""

    made = 0
    warmed_up: ClassVar[list[str]] = []

    def __init__(self, options):
        super().__init__(options)
        type(self).made += 1

    def describe(self):
        return {**super().describe(), "precision": "as asked"}

    def knobs(self):
        choices = ("eager", "sdpa", "absent")
        return [*super().knobs(), ChoiceKnob(name="attention", default="eager", choices=choices, part="model")]

    def warm_up(self, workload, configuration):
        self.warmed_up.append(configuration.attention)
        print("warming up")

    def run(self, workload, configuration, profiler):
        if configuration.attention == "absent":
            raise MemoryError("no such attention")
        return super().run(workload, configuration, profiler)


def test_a_knob_of_the_model_has_the_target_made_and_warmed_up_again(workload, tmp_path, capfd):
    target = "tests.unit.sweep.trial.test_measured_target:Reloaded"
    request = Request(tmp_path / "out", DeviceName("cpu"), None, target=target, varied=("attention",))
    with MeasuredTarget(request) as measured:
        measured.warm_up(workload)
        baseline = measured.knobs.baseline
        asked = [baseline, baseline.replace(batch_size=4), *(baseline.replace(attention="sdpa"),) * 2]
        results = [measured.run_trial(workload, one, tmp_path) for one in asked]
        assert [result.model_reloaded for result in results] == [True, False, True, False]
        assert all(result.warmed_up and result.succeeded for result in results)
        assert Reloaded.made == 3  # the first one did not know yet which value it would have
        assert Reloaded.warmed_up == ["eager", "eager", "sdpa"]
        assert measured.conditions().model["target"] == {**results[0].model["target"]}
    assert capfd.readouterr().out == ""
