# SPDX-License-Identifier: MIT
"""The projection of a short run, or of a sample, holds the truth of a machine of known speed in its interval."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.simulated_machine import ORDERS, SimulatedMachine, workload_in_order
from tests.support.sweeps import conditions
from virnuc_profiler.analysis.model_cost import ModelShape
from virnuc_profiler.analysis.projection.run_pace import project_run
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.plan.workload import sample_of, token_counts, workload_of
from virnuc_profiler.sweep.session import Sweep
from virnuc_profiler.sweep.trial.run import measure_configuration
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.run_result import RunResult

START_UP_S = 2.0
MACHINES = {
    "tokens": {"tokens_per_second": 100_000},
    "flops": {"flops_per_second": 1e12, "shape": ModelShape(6, 320)},
}


def projected(machine, fasta, folder, sequences, **options):
    """Return the projection of a trial through the real loader, packer and runner, and the machine's model shape."""
    result = measure_configuration(
        Configuration(num_workers=0), fasta, folder, machine, "cpu", cooldown_s=0.0, **options
    )
    run = RunResult.load(result.run_path)
    return project_run(run, run_summary(run), machine.shape, sequences=sequences)


def true_hours(machine, path):
    lengths = token_counts(FastaFile.open(path))
    return (START_UP_S + machine.seconds(int(lengths.sum()), int((lengths**2).sum()))) / 3600


def contains(time, hours):
    return time.low_hours <= hours <= time.high_hours


@pytest.fixture(params=MACHINES.values(), ids=MACHINES.keys())
def machine(request, monkeypatch):
    machine = SimulatedMachine(**request.param, start_up_s=START_UP_S)
    machine.install(monkeypatch)
    return machine


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [72, pytest.param(2000, marks=pytest.mark.slow)])
def test_the_interval_holds_a_job_of_twenty_times_as_many_sequences(machine, order, count, tmp_path):
    job = workload_in_order(tmp_path, 20 * count, order)
    time = projected(machine, workload_in_order(tmp_path, count, order), tmp_path, 20 * count)
    truth = true_hours(machine, job)
    assert contains(time, truth)
    assert time.hours == pytest.approx(truth, rel=0.08 if count == 72 else 0.02)


@pytest.mark.parametrize("order", ORDERS)
def test_a_sample_stands_for_its_file_however_the_file_is_sorted(machine, order, tmp_path):
    path = workload_in_order(tmp_path, 3000, order)
    fasta = FastaFile.open(path)
    workload = workload_of(fasta, "a test", 150, seed=42)
    time = projected(machine, fasta, tmp_path, 3000, sample=sample_of(workload, fasta))
    truth = true_hours(machine, path)
    assert contains(time, truth)
    assert time.hours == pytest.approx(truth, rel=0.02)


def test_sorted_and_shuffled_files_have_the_same_projection(machine, tmp_path):
    """A sweep has the same packs of all of them, so that it recommends the same too."""
    times = []
    for order in ORDERS:
        fasta = FastaFile.open(workload_in_order(tmp_path, 3000, order))
        workload = workload_of(fasta, "a test", 150, seed=42)
        times.append(projected(machine, fasta, tmp_path, 3000, sample=sample_of(workload, fasta)))
    assert np.ptp([time.hours for time in times]) < 1e-9 * times[0].hours
    assert times[0].strata == times[1].strata == times[2].strata


def test_a_sweep_over_a_sorted_file_recommends_what_one_over_the_shuffled_file_does(machine, tmp_path):
    choices, rates = set(), set()
    for order in ORDERS:
        fasta = FastaFile.open(workload_in_order(tmp_path, 2000, order))
        workload, validation = (workload_of(fasta, "a test", count, seed=42) for count in (100, 250))

        def trial(workload, configuration, folder, progress, fasta=fasta):
            sample = sample_of(workload, fasta)
            knobs = configuration.replace(num_workers=0)
            result = measure_configuration(knobs, fasta, folder, machine, "cpu", sample=sample, cooldown_s=0.0)
            return replace(result, configuration=configuration)

        grid = {"num_workers": (0,), "prefetch_factor": (4,), "token_budget": (2048, 8192), "buffer_size": (20, 100)}
        sweep = Sweep(
            tmp_path / order, trial, workload, validation, conditions(), grid, check_workload=lambda workload: None
        )
        *_, packing, validated = sweep.run(("baseline", "packing", "validation"))
        choices.add(validated.choice.configuration)
        rates.add(tuple(result.steady_tokens_per_sec for result in packing.results))
    assert len(choices) == 1
    assert len(rates) == 1
