# SPDX-License-Identifier: MIT
"""The seeds of the fuzzers, each once, and a few mutants of them: fast, and the same every time."""

import json
import random
import tracemalloc
import zlib

import pytest

from tests.fuzz import comparison, fasta, journal, nsys_export, saved_run, telemetry
from tests.fuzz.checked_lines import lines_target, seal
from tests.fuzz.engine import SEEDS, check_within_bounds, mutate_bytes

TARGETS = {
    module.TARGET.name: module.TARGET for module in (comparison, fasta, journal, nsys_export, saved_run, telemetry)
}
CASES = [(target, path) for target in TARGETS.values() for path in target.seeds()]


@pytest.fixture
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize(("target", "path"), CASES, ids=[f"{target.name}/{path.name}" for target, path in CASES])
def test_seed(target, path):
    target.check(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_mutants(target, traced):
    source = random.Random(7)
    seeds = [path.read_bytes() for path in target.seeds()]
    target.check(seeds[0])
    for _ in range(40):
        data = source.choice(seeds)
        for _ in range(3):
            data = (target.mutate if source.random() < 0.7 else mutate_bytes)(data, source)
        check_within_bounds(target, data)


def test_seeds_are_small_and_all_are_used():
    files = [path for path in SEEDS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000
    assert {path.parent.name for path in files} == set(TARGETS)


def test_a_reader_of_checked_lines_can_be_fuzzed(traced):
    def read(folder):
        lines = (folder / "x.jsonl").read_bytes().split(b"\n")
        return [line for line in lines if (parts := line.partition(b'"entry":'))[1] and zlib.crc32(parts[2][:-1])]

    target = lines_target("x", read, (), "x.jsonl")
    data = b"\n".join(seal(json.dumps({"kind": kind, "n": [1, 2]}).encode()) for kind in ("sweep", "trial")) + b"\n"
    source = random.Random(7)
    seen = {target.mutate(data, source) for _ in range(100)}
    assert len(seen) > 50
    for mutant in seen:
        check_within_bounds(target, mutant)
