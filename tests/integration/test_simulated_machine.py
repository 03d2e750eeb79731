# SPDX-License-Identifier: MIT
"""Every rate, share and projection that is printed for a machine of constant speed is within 1 % of the truth."""

import json
import re
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.simulated_machine import ORDERS, SimulatedMachine, workload_in_order
from tests.support.sweeps import conditions
from virnuc_profiler.analysis.model_cost import ModelShape, forward_flops
from virnuc_profiler.cli.live.sweep_progress import ProgressLines
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.reports.performance_text import generate_performance_report
from virnuc_profiler.reports.stage_table import render_stages
from virnuc_profiler.reports.sweep_tables import render_step
from virnuc_profiler.sweep.plan.workload import read_workload
from virnuc_profiler.sweep.session import Sweep
from virnuc_profiler.sweep.trial import run_files
from virnuc_profiler.sweep.trial.run import measure_configuration
from virnuc_profiler.targets.knobs.configuration import BASELINE
from virnuc_profiler.telemetry.reader import read_telemetry
from virnuc_profiler.telemetry.run_result import RunResult

SHAPE = ModelShape(6, 320)
START_UP_S = 2.0
MACHINES = {
    "tokens": {"tokens_per_second": 100_000},
    "flops": {"flops_per_second": 1e12, "shape": SHAPE},
    "tokens on a device": {"tokens_per_second": 100_000, "on_device": True},
    "flops on a device": {"flops_per_second": 1e12, "shape": SHAPE, "on_device": True},
}
COUNTS = (20, 400, pytest.param(20_000, marks=pytest.mark.slow))
WITHIN = 0.01


@dataclass(frozen=True)
class Truth:
    """What a workload is, and how long the machine computes it."""

    sequences: int
    tokens: int
    flops: int
    computing_s: float

    @property
    def elapsed_s(self):
        return START_UP_S + self.computing_s


def truth_of(path, machine):
    lengths = np.minimum(FastaFile.open(path).residue_counts, 1022) + 2
    tokens, squares = int(lengths.sum()), int((lengths**2).sum())
    seconds = machine.seconds(tokens, squares)
    return Truth(len(lengths), tokens, forward_flops(tokens, squares, SHAPE), seconds)


def measure(path, folder, machine, configuration=BASELINE, **options):
    """Return the result of a trial through the real loader, packer and runner, without the processes of its workers."""
    knobs = configuration.replace(num_workers=0)
    result = measure_configuration(knobs, path, folder, machine, "cpu", cooldown_s=0.0, **options)
    return replace(result, configuration=configuration)


def figures_of(report):
    """Return the first number behind each label of a report; None for n/a."""
    found = {}
    for label, value in re.findall(r"^  ([^:\n]+): {2,}(.*)$", report.partition("\nHardware\n")[0], re.MULTILINE):
        number = re.match(r"[-\d,.]+(e[-+]\d+)?", value)
        found[label] = None if number is None else float(number[0].replace(",", ""))
    return found


def shares_of(table):
    """Return the share of the run of each stage, percent."""
    return {stage: float(share) for stage, share in re.findall(r"^(\w+) +\|.* ([\d.]+)%$", table, re.MULTILINE)}


@pytest.fixture(params=MACHINES.values(), ids=MACHINES.keys())
def machine(request, monkeypatch):
    machine = SimulatedMachine(**request.param, start_up_s=START_UP_S)
    machine.install(monkeypatch)
    if machine.flops_per_second is not None:
        ceiling = SimpleNamespace(flops_per_second=2 * machine.flops_per_second, sm_clock_mhz=None)
        monkeypatch.setattr(run_files, "stored_ceiling", lambda run: ceiling)
    return machine


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", COUNTS)
def test_a_report_says_how_fast_the_machine_is(machine, order, count, tmp_path):
    path = workload_in_order(tmp_path, count, order)
    result = measure(path, tmp_path, machine)
    truth = truth_of(path, machine)
    found = figures_of(generate_performance_report(result.telemetry_path))
    batches, first = len(machine.records), machine.records[0].packing
    computing_h = truth.computing_s / truth.sequences * 6e6 / 3600
    expected = {
        "Sequences": truth.sequences,
        "Tokens": truth.tokens,
        "Tokens per sequence": truth.tokens / truth.sequences,
        "Batches": batches,
        "Elapsed": truth.elapsed_s,
        "Tokens/s": truth.tokens / truth.elapsed_s,
        "Sequences/s": truth.sequences / truth.elapsed_s,
        "Sequences/hour": 3600 * truth.sequences / truth.elapsed_s,
        "Projected 6M (whole run's rate)": truth.elapsed_s / truth.sequences * 6e6 / 3600,
        "Average efficiency": 100 * truth.tokens / batches / BASELINE.token_budget,
        "Average": 1e3 * START_UP_S / batches,
        "Starved batches": 100 / batches,
        "Share of the run": 100 * START_UP_S / truth.elapsed_s,
        "Start to first batch": START_UP_S + machine.seconds(first.tokens, first.sum_squared_lengths),
    }
    if machine.on_device:
        expected["In device stages, at most"] = 100 * truth.computing_s / truth.elapsed_s
    if batches >= 6:
        expected |= {
            "Projected 6M (one start, steady)": START_UP_S / 3600 + computing_h,
            "Steady tokens/s": truth.tokens / truth.computing_s,
            "Steady sequences/s": truth.sequences / truth.computing_s,
        }
    else:
        assert found["Steady tokens/s"] is found["Steady sequences/s"] is None
        assert "Projected 6M (one start, steady)" not in found
    if machine.shape is not None:
        expected["Model TFLOP/s"] = truth.flops / truth.elapsed_s / 1e12
        expected["MFU"] = 100 * truth.flops / truth.elapsed_s / 2e12
    assert {label: found[label] for label in expected} == pytest.approx(expected, rel=WITHIN)
    shares = shares_of(render_stages(RunResult.load(result.run_path)))
    assert shares["fetch"] == pytest.approx(100 * START_UP_S / truth.elapsed_s, rel=WITHIN)
    assert shares["forward"] == pytest.approx(100 * truth.computing_s / truth.elapsed_s, rel=WITHIN)


@pytest.mark.parametrize("order", ORDERS)
def test_a_run_that_ends_early_projects_the_workload_and_not_the_long_sequences_that_it_had_first(
    order, tmp_path, monkeypatch
):
    machine = SimulatedMachine(tokens_per_second=100_000, start_up_s=START_UP_S)
    machine.install(monkeypatch)
    machine.interrupt_at_pack = 10
    path = workload_in_order(tmp_path, 400, order)
    with pytest.raises(KeyboardInterrupt):
        measure(path, tmp_path, machine)
    truth = truth_of(path, machine)
    report = generate_performance_report(next(tmp_path.glob("telemetry_*.json")))
    found = figures_of(report)
    assert re.search(r"Sequences: +\d+ of 400: the run ended early", report)
    assert found["Steady sequences/s"] == pytest.approx(truth.sequences / truth.computing_s, rel=WITHIN)
    mean_tokens = truth.tokens / truth.sequences
    assert found["Projected 6M (by tokens)"] == pytest.approx(
        found["Elapsed"] / found["Tokens"] * 6e6 * mean_tokens / 3600, rel=WITHIN
    )
    assert found["Projected 6M (by sequences)"] > 2 * found["Projected 6M (by tokens)"]


def test_a_run_that_ends_in_its_second_pass_projects_the_workload_too(tmp_path, monkeypatch):
    machine = SimulatedMachine(tokens_per_second=100_000, start_up_s=START_UP_S)
    machine.install(monkeypatch)
    path = workload_in_order(tmp_path, 400, "shuffled")
    measure(path, tmp_path / "whole", machine)
    machine.interrupt_at_pack = len(machine.records) + 10
    with pytest.raises(KeyboardInterrupt):
        measure(path, tmp_path, machine, trial_seconds=60.0)
    truth = truth_of(path, machine)
    report = generate_performance_report(next(tmp_path.glob("telemetry_*.json")))
    assert re.search(r"Sequences: +\d+ \(1 pass over 400\): the run ended early", report)
    found = figures_of(report)
    assert found["Steady sequences/s"] == pytest.approx(truth.sequences / truth.computing_s, rel=WITHIN)
    tokens = 6e6 * truth.tokens / truth.sequences
    assert found["Projected 6M (by tokens)"] == pytest.approx(
        found["Elapsed"] / found["Tokens"] * tokens / 3600, rel=WITHIN
    )


def test_a_run_of_several_passes_has_the_rates_and_projections_of_the_workload(machine, tmp_path):
    path = workload_in_order(tmp_path, 400, "descending")
    result = measure(path, tmp_path, machine, trial_seconds=5.0)
    assert result.passes > 1
    truth = truth_of(path, machine)
    found = figures_of(generate_performance_report(result.telemetry_path))
    passes_s = result.passes * truth.computing_s
    expected = {
        "Sequences": result.passes * truth.sequences,
        "Elapsed": START_UP_S + passes_s,
        "Sequences/s": result.passes * truth.sequences / (START_UP_S + passes_s),
        "Steady tokens/s": truth.tokens / truth.computing_s,
        "Steady sequences/s": truth.sequences / truth.computing_s,
        "Projected 6M (one start, steady)": (START_UP_S + truth.computing_s / truth.sequences * 6e6) / 3600,
    }
    assert {label: found[label] for label in expected} == pytest.approx(expected, rel=WITHIN)


@pytest.mark.parametrize("order", ORDERS)
def test_each_batch_has_the_rate_of_the_machine(order, tmp_path, monkeypatch):
    machine = SimulatedMachine(tokens_per_second=100_000, start_up_s=START_UP_S)
    machine.install(monkeypatch)
    path = workload_in_order(tmp_path, 400, order)
    result = measure(path, tmp_path, machine)
    first, *others = read_telemetry(result.telemetry_path)["per_batch_metrics"]
    assert first["tokens_per_sec"] < 10_000
    assert [batch["tokens_per_sec"] for batch in others] == pytest.approx([100_000] * len(others), rel=WITHIN)


@pytest.mark.parametrize("machine", [MACHINES["flops"], MACHINES["tokens on a device"]], indirect=True)
@pytest.mark.parametrize("order", [ORDERS[0], *(pytest.param(order, marks=pytest.mark.slow) for order in ORDERS[1:])])
def test_a_sweep_finds_that_all_configurations_are_alike(machine, order, tmp_path):
    """The machine's speed does not depend on packing, so a speedup, or a spread, would be an artifact of the packs."""
    workload = read_workload(workload_in_order(tmp_path, 200, order), "a test")
    longer = read_workload(workload_in_order(tmp_path, 500, order), "a test")
    left = []
    sweep = Sweep(
        tmp_path / "sweep",
        lambda workload, configuration, folder, progress: measure(workload.path, folder, machine, configuration),
        workload,
        longer,
        conditions(),
        {"num_workers": (0,), "prefetch_factor": (4,), "token_budget": (2048, 4096), "buffer_size": (100,)},
        check_workload=lambda workload: None,
    )
    steps = ("baseline", "dataloader", "packing", "interaction", "validation")
    planned = sweep.planned(steps)

    class Watched(ProgressLines):
        def trial_finished(self, step, result):
            super().trial_finished(step, result)
            left.append(self.seconds_left())

    sweep.listener = Watched(planned, 0.0, clock=lambda: machine.now_ns / 1e9)
    documents = sweep.run(steps)
    short, long = (truth_of(each.path, machine) for each in (workload, longer))
    for document in documents[:-1]:
        for result in document.results:
            assert result.sequences_per_sec == pytest.approx(short.sequences / short.elapsed_s, rel=WITHIN)
            assert result.steady_sequences_per_sec == pytest.approx(short.sequences / short.computing_s, rel=WITHIN)
            assert result.speedup == pytest.approx(1, rel=WITHIN)
    choice = documents[-1].choice
    assert choice.noise is None or choice.noise < WITHIN
    text = render_step(documents[-1])
    (rate,) = re.findall(r"Throughput: ([\d.,]+) seq/sec", text)
    whole, steady = re.findall(r"6,000,000 sequences: ([\d.,]+) hours", text)
    assert float(rate) == pytest.approx(long.sequences / long.computing_s, rel=WITHIN)
    assert float(whole) == pytest.approx(long.elapsed_s / long.sequences * 6e6 / 3600, rel=WITHIN)
    assert float(steady) == pytest.approx((START_UP_S + long.computing_s / long.sequences * 6e6) / 3600, rel=WITHIN)
    remaining = [short.elapsed_s * (len(planned) - 1 - done) + long.elapsed_s for done in range(1, len(planned))]
    assert left[:-1] == pytest.approx(remaining, rel=WITHIN)
    best = json.loads((tmp_path / "sweep" / "best_config.json").read_text())
    assert best["equals_within_noise"] is None or best["noise"] is not None
