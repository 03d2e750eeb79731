# SPDX-License-Identifier: MIT
"""The loop that is captured: the same batches as those of the measured run, again and again, and nothing is left."""

from itertools import islice

import pytest

from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler import BatchProfiler, RunResult
from virnuc_profiler.cli.main import main
from virnuc_profiler.errors import LibraryUnavailable
from virnuc_profiler.sweep.kernels.kernel_pass import add_kernels, batches_to_skip, loop_of
from virnuc_profiler.sweep.trial import measured_model, measured_target


@pytest.mark.parametrize(
    ("batches", "warm_up", "skipped"), [(0, 0, 0), (5, 3, 0), (10, 3, 2), (40, 4, 4), (10_000, 1000, 64)]
)
def test_a_warm_up_is_skipped_as_far_as_batches_remain(batches, warm_up, skipped):
    assert batches_to_skip(batches, warm_up) == skipped


def test_the_built_in_loop_has_the_batches_of_the_run_and_goes_on(tmp_path, monkeypatch):
    captured = []

    def save(run_path, loop, *, num_batches, device):
        profiler = BatchProfiler(device=device, run_id="again")
        with profiler:
            iterator = loop(profiler)
            assert len(list(islice(iterator, 12))) == 12
            iterator.close()
        captured.append((RunResult.load(run_path), profiler.result, num_batches))

    monkeypatch.setattr(measured_model, "save_kernels", save)
    fasta = write_fasta(tmp_path / "own.faa", random_records(12, longest=60))
    options = ["--device", "cpu", "--model", "8M", "--weights", "random", "--num-workers", "0", "--cooldown", "0"]
    options += ["--fasta", str(fasta), "--token-budget", "128", "--output-dir", str(tmp_path / "out"), "--kernels", "7"]
    assert main(["profile", *options]) == 0
    ((run, again, number),) = captured
    assert number == 7
    first = [batch.packing for batch in run.batches]
    assert 3 <= len(first) < 12
    assert [batch.packing for batch in again.batches] == [first[at % len(first)] for at in range(12)]


class Source:
    def __init__(self, fails=False):
        self.events = []
        self.fails = fails

    def open(self):
        self.events.append("open")
        if self.fails:
            raise ValueError("cannot open")

    def run(self, profiler, deadline_ns):
        assert deadline_ns is None
        try:
            yield from range(5)
        finally:
            self.events.append("run ended")

    def close(self):
        self.events.append("close")


def test_a_source_is_opened_late_and_closed_in_any_case():
    source = Source()
    loop = loop_of(source)
    assert source.events == []
    iterator = loop(None)
    assert next(iterator) == 0
    iterator.close()
    assert source.events == ["open", "run ended", "close"]
    broken = Source(fails=True)
    with pytest.raises(ValueError, match="cannot open"):
        next(loop_of(broken)(None))
    assert broken.events == ["open", "close"]


def test_without_a_gpu_the_loop_is_not_even_started():
    profiler = BatchProfiler(device="cpu")
    with profiler:
        for _ in profiler.batches(range(3)):
            pass

    def loop(_profiler):
        raise AssertionError("started")

    with pytest.raises(LibraryUnavailable, match="without a GPU, CUPTI has nothing to record"):
        add_kernels(profiler.result, loop, device="cpu")


def test_the_loop_of_a_target_is_captured_too(tmp_path, monkeypatch):
    captured = []

    def save(run_path, loop, *, num_batches, device):
        profiler = BatchProfiler(device=device, stages=RunResult.load(run_path).stage_names)
        with profiler:
            list(loop(profiler))
        captured.append((RunResult.load(run_path), profiler.result))

    monkeypatch.setattr(measured_target, "save_kernels", save)
    fasta = write_fasta(tmp_path / "own.faa", random_records(12, longest=60))
    options = ["--device", "cpu", "--target", "tests.support.toy_target:make", "--cooldown", "0", "--kernels"]
    options += ["--fasta", str(fasta), "--output-dir", str(tmp_path / "out")]
    assert main(["profile", *options]) == 0
    ((run, again),) = captured
    assert len(again.batches) > 0
    assert {batch.packing for batch in again.batches} <= {batch.packing for batch in run.batches}
