# SPDX-License-Identifier: MIT
"""Several passes over a dataset in one session of its workers."""

import os
import signal
from collections import Counter

import numpy as np
import psutil
import pytest
from torch.utils.data import IterableDataset, get_worker_info

from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler.errors import WorkerCrash, WorkloadError
from virnuc_profiler.inference.loading.loader import create_async_dataloader
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.sequences.dataset import IndexBasedDataset, SequenceDataset

RECORDS = random_records(601, longest=80)


@pytest.fixture
def path(tmp_path):
    return write_fasta(tmp_path / "sequences.faa", RECORDS)


def loader_of(dataset, num_workers, **options):
    collator = VarlenCollator(max_tokens_per_batch=512, buffer_size=50)
    return create_async_dataloader(dataset, collator, num_workers=num_workers, **options)


def passes_of(loader, count, at_end=lambda: None):
    """Return the batches of a number of passes, one list for each."""
    passes = [[]]

    def another():
        at_end()
        if len(passes) == count:
            return False
        passes.append([])
        return True

    for batch in loader.passes(another):
        passes[-1].append(batch)
    return passes


def contents(batches):
    return [(batch.positions.tolist(), batch.arrivals.tolist(), batch.tokens.tolist()) for batch in batches]


def alive(pids):
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("num_workers", [0, 1, 3])
@pytest.mark.parametrize("chunk_sequences", [5, 7, 1000])
def test_each_pass_has_the_batches_of_a_single_pass(path, num_workers, chunk_sequences):
    dataset = SequenceDataset(path, chunk_sequences=chunk_sequences)
    single = contents(loader_of(dataset, 0))
    loader = loader_of(dataset, num_workers, prefetch_factor=2)
    pids = []
    passes = passes_of(loader, 4, lambda: pids.append(tuple(loader.worker_pids())))
    assert [contents(batches) for batches in passes] == [single] * 4
    counts = Counter(position for batches in passes for batch in batches for position in batch.positions.tolist())
    assert counts == dict.fromkeys(range(601), 4)
    assert {len(each) for each in pids} == {num_workers}
    assert len(set(pids)) == 1  # no worker was started again
    assert alive(pids[0]) == loader.worker_pids() == []
    assert contents(loader) == single  # later passes are single again


def test_one_pass_is_enough_if_no_other_is_wanted(path):
    loader = loader_of(SequenceDataset(path), 2)
    (batches,) = passes_of(loader, 1)
    assert sum(len(batch.positions) for batch in batches) == 601


def test_chosen_sequences_are_repeated_in_their_order(path):
    chosen = np.array([9, 3, 600, 14, 1])
    dataset = IndexBasedDataset(path, chosen, chunk_sequences=1)
    for batches in passes_of(loader_of(dataset, 3), 3):
        assert sorted(p for batch in batches for p in batch.positions.tolist()) == sorted(chosen.tolist())


class Records(IterableDataset):
    """A user's own dataset, which knows nothing of passes."""

    def __iter__(self):
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        yield from RECORDS[number::workers]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_dataset_that_cannot_be_repeated_is_read_again_for_each_pass(num_workers):
    loader = loader_of(Records(), num_workers)
    pids = []
    first, second = passes_of(loader, 2, lambda: pids.extend(loader.worker_pids()))
    assert contents(first) == contents(second) == contents(loader)
    assert alive(pids) == []


def test_leaving_in_the_second_pass_ends_the_workers(path):
    loader = loader_of(SequenceDataset(path, chunk_sequences=5), 2)
    seen = 0
    for batch in loader.passes(lambda: True):
        seen += len(batch.positions)
        pids = loader.worker_pids()
        if seen > 601:
            break
    del batch
    loader.close()
    assert len(pids) == 2
    assert alive(pids) == []


def after(sequences, action, loader, count=5):
    """Run passes, and call an action once a number of sequences have come."""
    seen, todo = 0, [action]
    for batch in loader.passes(lambda: True):
        seen += len(batch.positions)
        if seen > sequences and todo:
            todo.pop()()
        if seen > count * 601:
            break


def test_a_worker_that_is_killed_in_a_later_pass_is_a_crash(path):
    loader = loader_of(SequenceDataset(path, chunk_sequences=5), 2, prefetch_factor=1)
    pids = []

    def kill():
        pids.extend(loader.worker_pids())
        os.kill(pids[1], signal.SIGKILL)

    with pytest.raises(WorkerCrash, match=r"worker 1 \(pid \d+\) was killed by SIGKILL"):
        after(700, kill, loader)
    assert len(pids) == 2
    assert alive(pids) == loader.worker_pids() == []


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_file_that_is_truncated_in_a_later_pass_is_refused(path, num_workers):
    loader = loader_of(SequenceDataset(path, chunk_sequences=5), num_workers, prefetch_factor=1)
    with pytest.raises(WorkloadError, match=r"sequences\.faa was truncated while it was in use"):
        after(700, lambda: os.truncate(path, 500), loader)


class FailsLater(SequenceDataset):
    """Raises in the second pass."""

    def repeated(self):
        for number, chunk in enumerate(super().repeated()):
            if number > 80:
                raise LookupError("the moon is full")
            yield chunk


def test_an_error_of_a_worker_in_a_later_pass_is_a_crash_with_its_message(path):
    loader = loader_of(FailsLater(path, chunk_sequences=5), 2)
    with pytest.raises(WorkerCrash, match=r"^a DataLoader worker raised LookupError: the moon is full$"):
        after(10_000, lambda: None, loader)


def test_a_newer_pass_ends_the_passes_before_it(path):
    loader = loader_of(SequenceDataset(path), 1)
    passes = loader.passes(lambda: True)
    next(passes)
    assert sum(len(batch.positions) for batch in loader) == 601
    with pytest.raises(RuntimeError, match="newer pass"):
        next(passes)
