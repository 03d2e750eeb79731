# SPDX-License-Identifier: MIT
"""How often a trial runs its workload, by a clock of the test's own, and with real loaders and workers."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch

from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.trial.single_gpu_benchmark import run_single_gpu_benchmark
from virnuc_profiler.targets import builtin_source, repetition
from virnuc_profiler.targets.repetition import MIN_SHARE, Repetition
from virnuc_profiler.telemetry.reader import read_telemetry
from virnuc_profiler.telemetry.run_result import RunResult

SEQUENCES = 300
RUN_ID = "tune_2w_1pf_256tb_50bs"


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return round(self.now_s * 1e9)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(repetition, "monotonic_ns", clock)
    return clock


def passes_until_the_end(clock, rule, batch_seconds, batches=10, tokens=100, at_most=1000):
    """Deliver passes of some batches until the rule says that no other follows, and return their number."""
    while rule.passes <= at_most:
        for _ in range(batches):
            clock.now_s += batch_seconds()
            rule.deliver(tokens)
        if not rule.another():
            break
    return rule.passes


def test_passes_begin_until_the_time_after_the_first_batch_is_used_up(clock):
    rule = Repetition(1000, 3.0, None)
    clock.now_s += 50.0  # of start-up
    assert passes_until_the_end(clock, rule, lambda: 0.1) == 4  # the first lasts 0.9 s, the others 1 s


@pytest.mark.parametrize("trial_seconds", [0.0, 3.0])
def test_a_pass_that_takes_longer_is_run_once(clock, trial_seconds):
    assert passes_until_the_end(clock, Repetition(1000, trial_seconds, 0.01), lambda: 1.0) == 1


def test_a_narrow_interval_ends_a_trial_but_not_before_a_share_of_its_time(clock):
    noise = np.random.default_rng(0)
    rule = Repetition(1000, 100.0, 0.05)
    passes = passes_until_the_end(clock, rule, lambda: 0.1 * noise.uniform(0.9, 1.1))
    assert passes == pytest.approx(MIN_SHARE * 100, abs=2)
    rule = Repetition(1000, 100.0, 1e-6)
    assert passes_until_the_end(clock, rule, lambda: 0.1 * noise.uniform(0.9, 1.1)) == pytest.approx(100, abs=2)


def test_batches_in_flight_do_not_make_the_mix_of_packs_noise(clock):
    rule, late = Repetition(6000, 100.0, 0.01), []
    while rule.passes <= 20:
        for batch in range(60):
            late.append(0.2 if batch < 30 else 0.1)
            if len(late) > 2:  # a device has two batches when the loader has none left
                clock.now_s += late.pop(0)
                rule.deliver(100)
        if not rule.another():
            break
    assert rule.passes <= 6


def test_a_run_that_has_not_settled_uses_its_time_up(clock):
    rule = Repetition(1000, 20.0, 0.2)
    start_s = clock.now_s
    passes = passes_until_the_end(clock, rule, lambda: 0.05 + 0.01 * (clock.now_s - start_s))
    assert clock.now_s - start_s > 20.0
    assert passes > 3


def test_the_interval_is_looked_at_ever_less_often(clock, monkeypatch):
    looked = []

    def never_narrow(times_ns, work, ends):
        looked.append(len(times_ns))
        return repetition_rate(times_ns, work, ends)

    repetition_rate = repetition.completed_rate
    monkeypatch.setattr(repetition, "completed_rate", never_narrow)
    passes_until_the_end(clock, Repetition(1000, 100.0, 1e-9), lambda: 0.01)
    assert len(looked) < 10  # of a thousand passes


def test_no_pass_begins_that_the_time_limit_would_end(clock):
    rule = Repetition(1000, 60.0, None, deadline_ns=clock() + 5_500_000_000)
    assert passes_until_the_end(clock, rule, lambda: 0.1) == 5


def test_without_a_delivered_batch_nothing_is_known_and_a_pass_follows(clock):
    rule = Repetition(1000, 3.0, 0.01)
    assert rule.another()
    assert not Repetition(1000, 0.0, None).another()


class Model:
    """Returns vectors of width 4, and runs an action before the n-th call."""

    def __init__(self, before=None, at_call=None):
        self.before, self.at_call = before, at_call
        self.calls = 0

    def __call__(self, tokens, cu_seqlens, max_seqlen):
        self.calls += 1
        if self.calls == self.at_call:
            self.before()
        return torch.ones(len(tokens), 4)


@pytest.fixture
def fasta(tmp_path):
    return write_fasta(tmp_path / "proteins.fasta", random_records(SEQUENCES, longest=80))


class FourPasses(Repetition):
    """Has trials run four passes, however fast the machine is."""

    def another(self):
        if self.passes == 4:
            return False
        self.passes += 1
        return True


@pytest.fixture
def run(fasta, tmp_path, monkeypatch):
    """Return a function that runs a trial of four passes."""
    monkeypatch.setattr(builtin_source, "Repetition", FourPasses)

    def run_trial(model, workers=2, folder="out", **options):
        settings = {"token_budget": 256, "buffer_size": 50, "prefetch_factor": 1, "cooldown_s": "auto"}
        return run_single_gpu_benchmark(
            fasta, tmp_path / folder, model, "cpu", workers, **settings, warm_up=False, trial_seconds=1.0, **options
        )

    return run_trial


@pytest.fixture
def packs(run):
    """Number of packs of one pass."""
    model = Model()
    run(model, workers=0, folder="whole")
    return model.calls // 4


@pytest.mark.parametrize("workers", [0, 2])
def test_a_trial_is_a_number_of_whole_passes_with_the_same_packs(run, fasta, workers):
    progress = []
    result = run(Model(), workers, on_progress=progress.append)
    assert (result["status"], result["passes"]) == ("success", 4)
    assert result["cleanup"]["clean"] is True
    tokens = int(FastaFile.open(fasta).residue_counts.sum()) + 2 * SEQUENCES
    document = read_telemetry(result["telemetry_path"])
    summary, metadata = document["summary"], document["run_metadata"]
    assert (summary["total_sequences"], summary["total_tokens"]) == (4 * SEQUENCES, 4 * tokens)
    assert (metadata["passes"], summary["passes"]) == (4, 4)
    assert (metadata["workload"]["num_sequences"], metadata["workload"]["tokens"]) == (SEQUENCES, tokens)
    packs = [(batch["num_sequences"], batch["num_tokens"]) for batch in document["per_batch_metrics"]]
    assert packs == packs[: len(packs) // 4] * 4
    assert progress == sorted(progress)
    assert progress[-1] == 4 * SEQUENCES
    assert result["sequences_per_sec"] == pytest.approx(4 * SEQUENCES / result["elapsed_sec"])
    assert result["measured_sec"] == pytest.approx(result["elapsed_sec"] - result["start_up_sec"])
    assert result["steady_tokens_per_sec"] == pytest.approx(result["rate_interval"]["rate"])
    assert result["steady_sequences_per_sec"] == pytest.approx(
        result["steady_tokens_per_sec"] * SEQUENCES / tokens, rel=1e-9
    )


def test_a_benchmark_runs_once_unless_told_otherwise(fasta, tmp_path):
    result = run_single_gpu_benchmark(fasta, tmp_path, Model(), "cpu", 0, token_budget=256, cooldown_s=0, warm_up=False)
    assert result["passes"] == 1
    assert read_telemetry(result["telemetry_path"])["summary"]["total_sequences"] == SEQUENCES


def fail():
    raise ValueError("something else")


def test_a_failure_in_the_second_pass_is_reported_as_in_the_first(run, packs):
    result = run(Model(fail, at_call=packs + 3))
    assert (result["status"], result["reason"]) == ("failed", "error")
    assert "something else" in result["message"]
    assert SEQUENCES < result["evidence"]["sequences_done"] < 2 * SEQUENCES
    assert result["cleanup"]["clean"] is True
    document = read_telemetry(result["telemetry_path"])
    assert document["run_metadata"]["status"] == "failed"
    assert document["run_metadata"]["passes"] == 1
    assert document["summary"]["total_batches"] == packs + 2


def test_a_time_limit_in_the_second_pass_ends_the_trial(run, packs):
    result = run(Model(lambda: time.sleep(2.5), at_call=packs + 3), workers=0, timeout_s=2.0)
    assert (result["status"], result["reason"]) == ("failed", "timeout")
    assert result["cleanup"]["clean"] is True
    assert read_telemetry(result["telemetry_path"])["summary"]["total_batches"] == packs + 3


def test_ctrl_c_in_the_second_pass_writes_what_was_measured_and_leaves_no_worker(run, packs, tmp_path):
    model = Model(lambda: os.kill(os.getpid(), signal.SIGINT), at_call=packs + 3)
    with pytest.raises(KeyboardInterrupt):
        run(model)
    document = read_telemetry(tmp_path / "out" / f"telemetry_{RUN_ID}.json")
    assert document["run_metadata"]["status"] == "interrupted"
    assert document["run_metadata"]["passes"] == 1
    assert RunResult.load(tmp_path / "out" / f"run_{RUN_ID}.json").total_sequences > SEQUENCES


def test_a_worker_that_is_killed_in_the_second_pass_is_named(run, packs):

    def kill():
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    result = run(Model(kill, at_call=packs + 3))
    assert (result["status"], result["reason"]) == ("failed", "worker_crash")
    assert "SIGKILL" in result["message"]
    assert result["cleanup"]["workers_left"] == []
