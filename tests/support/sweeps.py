# SPDX-License-Identifier: MIT
"""Sweeps without a model: workloads, conditions, and trials that return what a test wants."""

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.results.journal import Journal
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.sweep_record import SweepPlan, Trial
from virnuc_profiler.sweep.results.verdicts.candidates import rank
from virnuc_profiler.sweep.results.verdicts.recommendation import choose
from virnuc_profiler.sweep.session import Sweep, SweepListener
from virnuc_profiler.targets.knobs.configuration import Configuration

WORKLOAD = Workload(Path("small.fasta"), "generated, seed 42", 2000, 2000, 430_000, 1000, "sha256:aa")
VALIDATION_WORKLOAD = Workload(Path("large.fasta"), "generated, seed 42", 5000, 5000, 1_075_000, 1002, "sha256:bb")


def described_files():
    """Stand in for ``FastaFile``: every file that is opened is what :data:`WORKLOAD` describes."""
    return SimpleNamespace(open=lambda path, **_: SimpleNamespace(path=path, fingerprint=WORKLOAD.fingerprint))


def conditions(**changes) -> Conditions:
    sections = {
        "machine": {"cpu_model": "a processor"},
        "versions": {"virnuc_profiler": "0.1.0", "torch": "2.13.0"},
        "model": {
            "model_name": "m",
            "weights": "random seed 0",
            "precision": "fp32",
            "attention_backend": "sdpa",
            "kernels": "torch",
        },
        "settings": {"device": "cpu", "device_name": "cpu", "device_memory_gb": None, "host": "here"},
    }
    for key, value in changes.items():
        section, _, name = key.partition("__")
        sections[section] = {**sections[section], name: value}
    return Conditions(**sections)


def success(config: Configuration, rate: float = 100.0, packing: float | None = 0.95, **changes) -> Result:
    return Result(
        status="success",
        configuration=config,
        **{
            "elapsed_sec": 2000 / rate,
            "sequences_per_sec": rate,
            "tokens_per_sec": rate * 215,
            "gpu_util": 87.25,
            "packing_efficiency": packing,
            "peak_memory_gb": 6.543,
            **changes,
        },
    )


def failure(config: Configuration, reason: str = "OOM", **changes) -> Result:
    return Result(
        status="failed",
        configuration=config,
        reason=reason,
        **{"message": f"it failed with {reason}", "peak_memory_gb": 79.5, **changes},
    )


def not_tried(config: Configuration, **changes) -> Result:
    return failure(
        config,
        predicted=True,
        peak_memory_gb=None,
        predicted_peak_memory_gb=123.456,
        available_memory_gb=84.5,
        memory="device",
        **changes,
    )


def trial(config: Configuration, rate: float = 100.0, step: str = "dataloader", block: int = 0, **changes) -> Trial:
    """A trial as the journal holds it; `changes` are of the trial, and ``result`` replaces its result."""
    result = changes.pop("result", None) or success(config, rate)
    fields = {"conditions": "c", "finished": "2026-01-01T00:00:00+00:00", "took_sec": 1.0, **changes}
    workload = WORKLOAD
    return Trial(step, config, workload.fingerprint, workload.num_sequences, result=result, block=block, **fields)


class FakeTrials:
    """Returns results by configuration, and remembers what was asked for."""

    def __init__(self, result_of=success):
        self.result_of = result_of
        self.calls: list[tuple[Workload, Configuration, Path]] = []

    def __call__(self, workload, configuration, output_dir, on_progress):
        self.calls.append((workload, configuration, output_dir))
        on_progress(workload.num_sequences)
        path = output_dir / f"telemetry_{configuration.run_id}.json"
        return replace(self.result_of(configuration), telemetry_path=str(path))

    @property
    def configurations(self) -> list[Configuration]:
        return [configuration for _, configuration, _ in self.calls]


class StopAfter(FakeTrials):
    """Ctrl-C instead of the trial after some that end."""

    def __init__(self, count: int, result_of=success):
        super().__init__(result_of)
        self.count = count

    def __call__(self, *arguments):
        if len(self.calls) == self.count:
            raise KeyboardInterrupt
        return super().__call__(*arguments)


class Recorder(SweepListener):
    """Records the calls it receives."""

    def __init__(self):
        self.events = []

    def trial_started(self, step, configuration, workload):
        self.events.append(("started", step, configuration.run_id))

    def trial_finished(self, step, result):
        self.events.append(("finished", step, result.status))

    def step_finished(self, document):
        self.events.append(("step", document.step))


def recommended(steps, min_packing=0.9, objective=None, confirmation=None, standing=lambda _: None):
    """Return what a sweep recommends, from the results of its steps by name."""
    wanted = replace(objective or Objective(), min_packing=min_packing)
    return choose(rank(steps, wanted), wanted, confirmation, standing)


def fake_sweep(folder: Path, trials=None, **options) -> Sweep:
    return Sweep(
        folder,
        trials or FakeTrials(),
        options.pop("workload", WORKLOAD),
        VALIDATION_WORKLOAD,
        options.pop("conditions", conditions()),
        check_workload=options.pop("check_workload", lambda workload: None),  # there are no files
        clock=options.pop("clock", itertools.count().__next__),  # every trial takes a second
        pause=options.pop("pause", lambda seconds: None),
        **options,
    )


SMALL_GRID = {"num_workers": (2,), "prefetch_factor": (2, 4), "token_budget": (2048, 8192), "buffer_size": (500,)}


def small_plan(steps=("baseline", "dataloader", "packing", "interaction", "validation"), **options) -> SweepPlan:
    """Eight trials."""
    return SweepPlan(tuple(steps), SMALL_GRID, WORKLOAD, VALIDATION_WORKLOAD, options)


def run_in_journal(folder: Path, trials=None, begin: SweepPlan | None = None, **options):
    """Begins a sweep in the folder's journal, or continues the last one, and returns its documents."""
    with Journal(folder) as journal:
        if begin is not None:
            journal.begin(begin)
        plan = journal.current.plan
        sweep = fake_sweep(folder, trials, grid=plan.grid, journal=journal, **options)
        if journal.current.conditions:
            sweep.write_files()
        return sweep.run(plan.steps)


_OF_TIME = (
    "created",
    "elapsed_sec",
    "start_up_sec",
    "sequences_per_sec",
    "tokens_per_sec",
    "speedup",
    "gpu_util",
    "waited_s",
    "hours",
    "measured_sec",
    "took_sec",
    "rough_sequences_per_sec",
    "standing",
    "cost",
    "pareto",
)
_OF_THE_FASTEST = (
    "best",
    "baseline",
    "selection",
    "found_in",
    "measurements",
    "noise",
    "equals_within_noise",
    "reason",
)


def without_timings(document, validated: bool = False):
    """A result file without what depends on how long things took, directly or because the fastest is chosen.

    Args:
        document: of a step, or the best configuration.
        validated: whether it is about the fastest, so that even its configuration depends on time.
    """
    if isinstance(document, list):
        return [without_timings(value, validated) for value in document]
    if not isinstance(document, dict):
        return document
    left = {key for key in document if key not in _OF_TIME and key not in _OF_THE_FASTEST}
    if validated or document.get("step") == "validation":
        validated = True
        left -= {"config", "telemetry_path", "run_path", "packing_efficiency", "constraint_met", "cleanup", "evidence"}
    return {key: without_timings(document[key], validated) for key in sorted(left)}
