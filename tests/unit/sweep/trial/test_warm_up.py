# SPDX-License-Identifier: MIT
"""What happens once in a process is no measurement, on a simulated machine whose first pack takes 100 s longer."""

import pytest
import torch

from tests.support.fasta_files import random_records, write_fasta
from tests.support.simulated_machine import SimulatedMachine
from virnuc_profiler.errors import OutputError
from virnuc_profiler.sweep.trial import trial_run
from virnuc_profiler.sweep.trial import warm_up as module
from virnuc_profiler.sweep.trial.single_gpu_benchmark import run_single_gpu_benchmark

SMALL = {"num_workers": 0, "token_budget": 512, "buffer_size": 8, "cooldown_s": 0.0}


class ColdMachine(SimulatedMachine):
    """A machine that is cold at first, and counts its packs."""

    packs = 0

    def __call__(self, tokens, cu_seqlens, max_seqlen):
        if self.packs == 0:
            self.now_ns += 100_000_000_000
        self.packs += 1
        return super().__call__(tokens, cu_seqlens, max_seqlen)


@pytest.fixture
def machine(monkeypatch):
    machine = ColdMachine(tokens_per_second=1000)
    machine.install(monkeypatch)
    return machine


@pytest.fixture
def fasta(tmp_path):
    return write_fasta(tmp_path / "proteins.fasta", random_records(20))


def test_the_first_benchmark_of_a_model_is_as_warm_as_the_second(machine, fasta, tmp_path):
    first, second = (run_single_gpu_benchmark(fasta, tmp_path, machine, "cpu", **SMALL) for _ in range(2))
    assert first["elapsed_sec"] == second["elapsed_sec"] < 10
    assert (first["warmed_up"], second["warmed_up"]) == (True, True)
    assert first["evidence"]["sequences"] == 20
    batches = first["evidence"]["batches"]
    assert batches * 2 < machine.packs < batches * 3  # it was warmed up once, with a few sequences


def test_without_a_warm_up_the_result_says_so(machine, fasta, tmp_path):
    result = run_single_gpu_benchmark(fasta, tmp_path, machine, "cpu", **SMALL, warm_up=False)
    assert result["warmed_up"] is False
    assert result["elapsed_sec"] > 100


def test_a_model_that_fails_in_the_warm_up_fails_in_the_benchmark(machine, fasta, tmp_path, monkeypatch):
    def fail(self, tokens, cu_seqlens, max_seqlen):
        raise LookupError("no such layer")

    monkeypatch.setattr(ColdMachine, "__call__", fail)
    result = run_single_gpu_benchmark(fasta, tmp_path, machine, "cpu", **SMALL)
    assert (result["status"], result["warmed_up"]) == ("failed", False)
    assert "no such layer" in result["message"]


def test_a_warm_up_that_failed_warms_nothing_and_is_tried_again(machine, fasta, tmp_path, monkeypatch):
    failures, work = [1], ColdMachine.__call__

    def fail_once(self, tokens, cu_seqlens, max_seqlen):
        if failures:
            raise LookupError(f"failure {failures.pop()}")
        return work(self, tokens, cu_seqlens, max_seqlen)

    monkeypatch.setattr(ColdMachine, "__call__", fail_once)
    cold, warm = (run_single_gpu_benchmark(fasta, tmp_path, machine, "cpu", **SMALL) for _ in range(2))
    assert (cold["status"], cold["warmed_up"], warm["warmed_up"]) == ("success", False, True)
    assert cold["elapsed_sec"] > 100 > warm["elapsed_sec"]


def test_the_warm_up_leaves_no_files_and_reports_no_progress(machine, fasta, tmp_path):
    progress = []
    run_single_gpu_benchmark(fasta, tmp_path / "out", machine, "cpu", **SMALL, on_progress=progress.append)
    assert progress.count(0) == 1
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_folder_that_cannot_be_written_is_refused_before_the_warm_up(machine, fasta):
    with pytest.raises(OutputError):
        run_single_gpu_benchmark(fasta, fasta / "folder", machine, "cpu", **SMALL)
    assert machine.packs == 0


def test_the_first_workers_of_a_warm_model_are_warmed_up_too(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "warm_up_model", lambda *arguments, num_workers: not calls.append(num_workers))
    model = torch.nn.Identity()
    for workers in (0, 0, 1, 1, 0):
        module.ensure_warm(model, "cpu", "x.fasta", num_workers=workers)
    assert calls == [0, 1]


def test_a_model_that_cannot_be_remembered_is_warmed_up_for_every_run(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "warm_up_model", lambda *arguments, num_workers: not calls.append(num_workers))
    for _ in range(2):
        module.ensure_warm([], "cpu", "x.fasta", num_workers=0)  # a list has neither a hash nor weak references
    assert calls == [0, 0]


@pytest.mark.parametrize("warm_up", [True, False])
def test_only_a_measured_run_asks_to_be_measured_again(machine, fasta, tmp_path, monkeypatch, caplog, warm_up):
    monkeypatch.setattr(trial_run, "interruption_sentence", lambda _: "The run was interrupted. Measure again.")
    if warm_up:
        module.warm_up_model(machine, "cpu", fasta, num_workers=0)
    else:
        run_single_gpu_benchmark(fasta, tmp_path, machine, "cpu", **SMALL, warm_up=False)
    assert ("Measure again" in caplog.text) is not warm_up
