# SPDX-License-Identifier: MIT
"""Verdicts of whole sweeps on a machine whose true speeds are known, through the real loader, packer and runner."""

import json
import random
from dataclasses import replace

import pytest

from tests.support.simulated_machine import ORDERS, SimulatedMachine, workload_in_order
from tests.support.sweeps import conditions
from virnuc_profiler.cli.report import render
from virnuc_profiler.sweep.plan.steps import SEARCH_STEPS
from virnuc_profiler.sweep.plan.workload import read_workload
from virnuc_profiler.sweep.results.journal import Journal, read_journal
from virnuc_profiler.sweep.results.sweep_record import SweepPlan
from virnuc_profiler.sweep.search.space import build_space
from virnuc_profiler.sweep.session import Sweep
from virnuc_profiler.sweep.trial import cleanup
from virnuc_profiler.sweep.trial.run import measure_configuration
from virnuc_profiler.targets.knobs.configuration import Configuration

TOKENS_PER_SECOND = 100_000
PAUSE_S = 40.0
"""Pause after each trial of the steps, so that a few of them leave time for a confirmation."""

STEPS = ("baseline", "dataloader", "confirmation", "validation")
GRID = {"num_workers": (0, 2, 4, 8), "prefetch_factor": (4,)}
FAST = Configuration(num_workers=8)


class Host:
    """A host on which every configuration has its own start-up and speed, with drift and noise from trial to trial.

    Args:
        machine: The simulated machine; its clock is that of the host.
        start_up_s: Seconds until the first batch arrives, by the number of workers.
        speed: True speed by the number of workers, as a share of that of the machine.
        noise: Relative standard deviation between trials.
        drift: Share of the speed that is lost from trial to trial.
    """

    def __init__(self, machine, *, start_up_s=None, speed=None, noise=0.0, drift=0.0, seed=0):
        self.machine = machine
        self.start_up_s, self.speed, self.noise, self.drift = start_up_s or {}, speed or {}, noise, drift
        self.rng = random.Random(seed)
        self.trials = 0
        self.stop_after = None
        self.measured = []

    def run_trial(self, *arguments):
        """Measure a configuration, and pause."""
        result = self.run_brief_trial(*arguments)
        self.machine.now_ns += round(1e9 * PAUSE_S)
        return result

    def run_brief_trial(self, workload, configuration, folder, on_progress):
        """Measure a configuration without a pause."""
        if self.trials == self.stop_after:
            raise KeyboardInterrupt
        factor = self.speed.get(configuration.num_workers, 1.0) * (1 + self.rng.gauss(0, self.noise))
        factor *= (1 - self.drift) ** self.trials
        self.trials += 1
        self.measured.append(configuration)
        self.machine.tokens_per_second = TOKENS_PER_SECOND * factor
        self.machine.start_up_ns = round(1e9 * self.start_up_s.get(configuration.num_workers, 0.5))
        plain = configuration.replace(num_workers=0)  # without the processes of the workers
        result = measure_configuration(plain, workload.path, folder, self.machine, "cpu", cooldown_s=0.0)
        return replace(result, configuration=configuration)


@pytest.fixture
def machine(monkeypatch):
    machine = SimulatedMachine(tokens_per_second=TOKENS_PER_SECOND)
    machine.install(monkeypatch)
    monkeypatch.setattr(cleanup.gc, "collect", lambda *_: 0)  # takes most of the time of a trial, and nothing is held
    return machine


def sweep_on(
    host, folder, count=72, order="shuffled", steps=STEPS, grid=GRID, resumed=False, search_space=None, **options
):
    """Run or resume a sweep on a host, and return its documents by step; none if it was stopped."""
    folder.mkdir(exist_ok=True)
    workload, longer = (read_workload(workload_in_order(folder, n, order), "a test") for n in (count, 2 * count))
    with Journal(folder) as journal:
        if not resumed:
            journal.begin(SweepPlan(steps, grid, workload, longer, **options))
        sweep = Sweep(
            folder,
            host.run_trial,
            workload,
            longer,
            conditions(settings__cooldown_s=PAUSE_S),
            grid,
            journal=journal,
            check_workload=lambda workload: None,
            run_brief_trial=host.run_brief_trial,
            clock=lambda: host.machine.now_ns / 1e9,
            pause=lambda seconds: None,
            search_space=search_space,
            **options,
        )
        try:
            return {document.step: document for document in sweep.run(steps)}
        except KeyboardInterrupt:
            assert host.stop_after is not None
            return {}


@pytest.mark.parametrize("count", [72, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("order", [ORDERS[0], *(pytest.param(order, marks=pytest.mark.slow) for order in ORDERS[1:])])
def test_configurations_of_equal_long_run_speed_are_tied_whatever_their_start_up(machine, count, order, tmp_path):
    host = Host(machine, start_up_s={0: 0.1, 2: 0.8, 4: 1.3, 8: 2.5}, noise=0.002)
    documents = sweep_on(host, tmp_path, count, order)
    for result in documents["dataloader"].results:
        assert result.speedup == pytest.approx(1, abs=0.015)
        assert result.standing.tied is not False
    confirmation = documents["confirmation"].confirmation
    assert confirmation.verdict == "tied"
    assert documents["validation"].choice.verdict == "tied"
    assert documents["validation"].choice.configuration.num_workers <= 4
    assert "Verdict: tied within 2%" in render(tmp_path)


def test_a_configuration_that_is_ten_percent_faster_wins_with_an_interval(machine, tmp_path):
    host = Host(machine, start_up_s={8: 3.0}, speed={8: 1.1}, noise=0.005)
    documents = sweep_on(host, tmp_path)
    best = json.loads((tmp_path / "best_config.json").read_text())
    assert (best["verdict"], best["config"]) == ("better", FAST.to_json())
    assert 1.05 < best["speedup_low"] < 1.1 < best["speedup_high"] < 1.15
    confirmation = documents["confirmation"].confirmation
    assert confirmation.used_sec <= 1.01 * confirmation.allowed_sec


def test_drift_fools_the_grid_but_not_blocks(machine, tmp_path):
    """Each trial is 1 % slower than the one before, so that the first of a grid looks best."""
    documents = sweep_on(Host(machine, drift=0.01), tmp_path, steps=("baseline", "dataloader"))
    assert documents["dataloader"].best.configuration.num_workers == 0
    host = Host(machine, drift=0.01, speed={8: 1.1})
    documents = sweep_on(host, tmp_path / "blocks", steps=("baseline", "dataloader"), repeats=5)
    best = documents["dataloader"].best
    assert (best.configuration, best.standing.verdict) == (FAST, "faster")
    assert best.standing.speedup_low < 1.1 < best.standing.speedup_high
    assert best.standing.rate_high / best.standing.rate_low > 1.05


def test_the_order_of_the_grid_does_not_matter(machine, tmp_path):
    tables = []
    for name, workers in (("forward", (0, 2, 4, 8)), ("reverse", (8, 4, 2, 0)), ("shuffled", (4, 0, 8, 2))):
        host = Host(machine, speed={8: 1.05}, noise=0.003, seed=len(tables))
        grid = {"num_workers": workers, "prefetch_factor": (4,)}
        documents = sweep_on(host, tmp_path / name, steps=("baseline", "dataloader"), repeats=5, grid=grid)
        tables.append({one.configuration.num_workers: one.standing for one in documents["dataloader"].results})
    for workers in (0, 2, 8):
        lows, highs = zip(*((table[workers].speedup_low, table[workers].speedup_high) for table in tables), strict=True)
        assert max(lows) < min(highs)  # the intervals overlap
        assert len({table[workers].verdict for table in tables}) == 1


def test_a_resumed_sweep_ends_as_one_that_nothing_interrupted(machine, tmp_path):
    """Ctrl-C in the middle of a block, and in the middle of the confirmation."""

    def swept(folder, **options):
        host = Host(machine, speed={8: 1.1})
        host.stop_after = options.pop("stop_after", None)
        sweep_on(host, folder, repeats=3, seed=1, **options)
        return host.measured

    whole = swept(tmp_path / "whole")
    for stop_after in (8, 20):
        folder = tmp_path / str(stop_after)
        assert swept(folder, stop_after=stop_after) + swept(folder, resumed=True) == whole
        (record,) = read_journal(folder)
        assert len(record.trials) == len(whole)
        best = json.loads((folder / "best_config.json").read_text())
        assert (best["verdict"], best["config"]) == ("better", FAST.to_json())


@pytest.mark.slow
def test_a_search_finds_the_workers_that_pay_and_states_their_gain(machine, tmp_path):
    pytest.importorskip("optuna", reason="needs the extra 'search': pip install virnuc_profiler[search]")
    speed = {0: 0.8, 1: 0.9, 2: 1.0, 3: 1.05, 4: 1.1, 6: 1.3, 8: 1.3}
    host = Host(machine, speed=speed, noise=0.004)
    space = build_space(workers=8, largest_budget=8192, tokens=15_000, num_sequences=72, longest_tokens=1024)
    documents = sweep_on(host, tmp_path, steps=SEARCH_STEPS, grid={}, search_space=space)
    race = documents["confirmation"].confirmation
    assert speed[race.recommended.num_workers] == 1.3
    assert race.verdict == "better"
    found = race.comparisons[race.recommended]
    assert found.low <= 1.3 / 1.1 <= found.high
    assert "Adaptive Search" in render(tmp_path)
