# SPDX-License-Identifier: MIT
"""The steady rate of a trial is that of the machine, whatever its start-up, its workload and the order of a file."""

import numpy as np
import pytest

from tests.support.simulated_machine import ORDERS, SimulatedMachine, workload_in_order
from virnuc_profiler.analysis.confidence.rate_interval import SETTLED, TOO_SHORT, UNSETTLED
from virnuc_profiler.analysis.model_cost import ModelShape, forward_flops
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.trial.run import measure_configuration
from virnuc_profiler.targets import repetition
from virnuc_profiler.targets.knobs.configuration import BASELINE
from virnuc_profiler.telemetry.reader import read_telemetry

RATE = 300_000
"""Tokens per second in the long run."""
SHAPE = ModelShape(6, 320)
START_UP_S = {0: 0.05, 2: 1.1, 4: 1.7, 8: 3.2}
"""Start-up by number of workers, as on two cores."""


def measure(path, folder, machine, **options):
    """Return the result of a trial through the real loader, packer and runner, without the processes of its workers."""
    knobs = BASELINE.replace(num_workers=0)
    length = {"precision_target": 0.01, "trial_seconds": 3.0, **options}
    return measure_configuration(knobs, path, folder, machine, "cpu", cooldown_s=0.0, **length)


def noisy(seed, cold_packs=0, spread=0.05):
    """Return a slowness of mean 1 whose neighbors resemble each other, after some packs that take twice as long."""
    shocks = np.random.default_rng(seed).normal(0, spread, 5000)
    noise = [shocks[0]]
    for shock in shocks[1:]:
        noise.append(0.5 * noise[-1] + 0.866 * shock)
    return lambda number: (2.0 if number < cold_packs else 1.0) + noise[number % len(noise)]


@pytest.mark.parametrize("count", [72, 2000])
@pytest.mark.parametrize("on_device", [False, True])
def test_the_interval_contains_the_truth_whatever_the_start_up(count, on_device, tmp_path, monkeypatch):
    path = workload_in_order(tmp_path, count, "shuffled")
    contained, whole_runs = [], []
    for workers, start_up_s in START_UP_S.items():
        for number in range(3):
            slowness = noisy(10 * workers + number, cold_packs=5 * (workers > 0))
            machine = SimulatedMachine(
                tokens_per_second=RATE, start_up_s=start_up_s, on_device=on_device, slowness=slowness
            )
            machine.install(monkeypatch)
            result = measure(path, tmp_path, machine)
            interval = result.interval
            assert interval.state == SETTLED
            assert interval.rate == result.steady_tokens_per_sec == pytest.approx(RATE, rel=0.05)
            assert result.start_up_sec >= start_up_s
            assert result.measured_sec <= 3.0 + result.measured_sec / result.passes + 0.1
            assert abs(interval.rate - RATE) <= 2 * interval.relative_half_width * interval.rate
            contained.append(interval.low <= RATE <= interval.high)
            whole_runs.append(result.sequences_per_sec)
    assert sum(contained) >= 9  # of 12; benchmarks measure the coverage
    assert max(whole_runs) > 1.3 * min(whole_runs)  # start-up decides that rate


@pytest.mark.parametrize("count", [72, 2000])
def test_the_order_of_a_file_does_not_change_the_steady_rate(count, tmp_path, monkeypatch):
    found = {}
    for order in ORDERS:
        path = workload_in_order(tmp_path, count, order)
        lengths = np.minimum(FastaFile.open(path).residue_counts, 1022) + 2
        flops = forward_flops(int(lengths.sum()), int((lengths**2).sum()), SHAPE)
        truth = 3e12 * lengths.sum() / flops
        machine = SimulatedMachine(flops_per_second=3e12, shape=SHAPE, start_up_s=1.0, slowness=noisy(7))
        machine.install(monkeypatch)
        found[order] = measure(path, tmp_path, machine)
        assert found[order].interval.low <= truth <= found[order].interval.high
    intervals = [result.interval for result in found.values()]
    assert max(one.low for one in intervals) <= min(one.high for one in intervals)


def test_a_machine_that_becomes_slower_and_slower_is_unsettled(tmp_path, monkeypatch):
    machine = SimulatedMachine(tokens_per_second=RATE, slowness=lambda number: 1 + number / 100)
    machine.install(monkeypatch)
    result = measure(workload_in_order(tmp_path, 400, "shuffled"), tmp_path, machine)
    assert (result.interval.state, result.interval.low) == (UNSETTLED, None)
    assert result.interval.rate == result.steady_tokens_per_sec
    summary = read_telemetry(result.telemetry_path)["summary"]
    assert summary["steady_interval"] == result.rate_interval


def test_a_single_short_pass_is_too_short_to_tell(tmp_path, monkeypatch):
    machine = SimulatedMachine(tokens_per_second=RATE)
    machine.install(monkeypatch)
    path = workload_in_order(tmp_path, 200, "shuffled")
    result = measure(path, tmp_path, machine, trial_seconds=None, precision_target=None)
    assert (result.passes, result.interval.state, result.interval.high) == (1, TOO_SHORT, None)
    assert result.steady_tokens_per_sec == pytest.approx(RATE, rel=0.01)


def test_the_rule_that_ends_a_trial_sees_the_interval_that_its_result_has(tmp_path, monkeypatch):
    seen = []
    completed_rate = repetition.completed_rate
    monkeypatch.setattr(repetition, "completed_rate", lambda *series: seen.append(completed_rate(*series)) or seen[-1])
    machine = SimulatedMachine(tokens_per_second=RATE, slowness=noisy(3))
    machine.install(monkeypatch)
    result = measure(workload_in_order(tmp_path, 72, "shuffled"), tmp_path, machine, precision_target=0.03)
    assert seen[-1].relative_half_width <= 0.03  # which ended the trial
    assert result.interval.rate == pytest.approx(seen[-1].rate, rel=0.01)
    assert result.interval.relative_half_width == pytest.approx(seen[-1].relative_half_width, rel=0.2)
