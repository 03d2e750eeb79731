# SPDX-License-Identifier: MIT
"""Runs of adapters on the CPU, with tiny models, and what must hold for each of them."""

from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise

import psutil
import pytest
import torch

from tests.support.fasta_files import random_records
from virnuc_profiler import BatchProfiler
from virnuc_profiler.targets.contract import Target, TargetOptions
from virnuc_profiler.targets.knobs.configuration import KnobSet
from virnuc_profiler.targets.target_workload import TargetWorkload

RECORDS = random_records(40, shortest=1, longest=120)
MAX_RESIDUES = 100  # cuts some of them


@dataclass
class Ran:
    """What a run of an adapter gave.

    Attributes:
        counts: What it yielded.
        result: Record of the run.
        vectors: Vector of each sequence.
        batches: Identifiers of each batch.
    """

    counts: list
    result: object
    vectors: dict
    batches: list


def program(module, reason):
    """Return a module of a program, or skip the tests of a file where it cannot be imported."""
    try:
        return import_module(module)
    except (ImportError, OSError) as error:
        pytest.skip(f"{reason} ({error})", allow_module_level=True)


def tiny_options(**options):
    """Return options for a tiny model with random weights."""
    return TargetOptions(**{"device": "cpu", "model": "tiny", "weights": "random", **options})


def write_workload(folder, records=RECORDS):
    """Write records as a sweep does, and return the workload."""
    path = folder / "workload.fasta"
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in records))
    tokens = sum(min(len(sequence), MAX_RESIDUES) + 2 for _, sequence in records)
    return TargetWorkload(path, len(records), tokens, MAX_RESIDUES)


def configuration_of(target, **values):
    """Return the target's baseline with other values of some knobs."""
    return KnobSet("adapter", tuple(target.knobs())).baseline.replace(**values)


class Collected:
    """Takes the vectors of a run; pass it as ``emit``."""

    def __init__(self):
        self.vectors, self.batches = {}, []

    def __call__(self, ids, vectors):
        assert len(ids) == len(vectors)
        self.batches.append(list(ids))
        self.vectors.update(zip(ids, vectors, strict=True))


def run_adapter(make, workload, options=None, **values):
    """Run an adapter over a workload with some values of its knobs; return what it gave, and the closed target."""
    collected = Collected()
    target = make(options or tiny_options(), collected)
    with BatchProfiler(device="cpu") as profiler:
        counts = list(target.run(workload, configuration_of(target, **values), profiler))
    return Ran(counts, profiler.result, collected.vectors, collected.batches), target


def check_contract(target, ran, workload, stages):
    """Every sequence once, in batches that are recorded with their tokens and with exactly these stages."""
    assert isinstance(target, Target)
    assert target.describe()["name"]
    assert target.describe()["versions"]["torch"] == torch.__version__
    assert sum(ran.counts) == workload.num_sequences
    assert Counter(name for batch in ran.batches for name in batch) == Counter(name for name, _ in workload.records())
    assert ran.counts == [len(batch) for batch in ran.batches]
    assert [batch.packing.sequences for batch in ran.result.batches] == ran.counts
    assert sum(batch.packing.tokens for batch in ran.result.batches) == workload.num_tokens
    for batch in ran.result.batches:
        assert {stage.name for stage in batch.stages} == set(stages)
        starts = [stage.host_start_ns for stage in batch.stages]
        assert starts == sorted(starts)
        assert all(one.host_end_ns <= other.host_start_ns for one, other in pairwise(batch.stages))


def check_padding(ran, workload):
    """Packing is the share of the padded batch that is not padding."""
    lengths = {name: len(sequence) + 2 for name, sequence in workload.records()}
    for ids, batch in zip(ran.batches, ran.result.batches, strict=True):
        real = [lengths[name] for name in ids]
        assert batch.packing.packing_efficiency == pytest.approx(sum(real) / (max(real) * len(real)))
        assert batch.packing.padding_tokens == max(real) * len(real) - sum(real)


def check_probe(make):
    """A probe runs one batch of two sequences of the most tokens, through a model that takes token ids first."""
    target = make(tiny_options())
    shapes = []
    target.model.register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0].shape)))
    target.probe(configuration_of(target), 2048)
    assert shapes == [(2, 1024)]


def check_closing_early(make, workload, **values):
    """A run that is ended after its first batch leaves no process, and the target can run again."""
    before = set(psutil.Process().children(recursive=True))
    collected = Collected()
    target = make(tiny_options(), collected)
    configuration = configuration_of(target, **values)
    with BatchProfiler(device="cpu") as profiler:
        run = target.run(workload, configuration, profiler)
        first = next(run)
        started = set(psutil.Process().children(recursive=True)) - before
        run.close()
        assert len(started) >= configuration.get("num_workers", 0)
        assert not [child for child in started if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert len(profiler.result.batches) == 1
    assert profiler.result.batches[0].packing.sequences == first
    with BatchProfiler(device="cpu") as profiler:
        assert sum(target.run(workload, configuration, profiler)) == workload.num_sequences


def default_grid_size(target):
    """Return how many points a sweep has that nobody restricts."""
    size = 1
    for knob in target.knobs():
        assert knob.default in knob.tried()
        size *= len(knob.tried())
    return size
