# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler.errors import WorkerCrash, WorkloadError
from virnuc_profiler.inference.loading.loader import create_async_dataloader
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.sequences.dataset import SequenceDataset
from virnuc_profiler.inference.sequences.range_dataset import RangeDataset, SequenceRange

RECORDS = random_records(100, longest=80)


@pytest.fixture
def path(tmp_path):
    return write_fasta(tmp_path / "sequences.faa", RECORDS)


def test_a_range_is_a_chunk_of_its_sequences(path):
    chunk = RangeDataset(path)[SequenceRange(10, 30, flush=True)]
    (whole,) = SequenceDataset(path, chunk_sequences=100)
    assert chunk.positions.tolist() == list(range(10, 30))
    assert chunk.flush
    np.testing.assert_array_equal(chunk.tokens, whole.tokens[whole.offsets[10] : whole.offsets[30]])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_asks_for_keys_only_as_far_ahead_as_it_reads(path, num_workers):
    asked = []

    class Keys:
        def __iter__(self):
            for start in range(0, 100, 10):
                asked.append(start)
                yield SequenceRange(start, start + 10, flush=True)

    dataset = RangeDataset(path)
    loader = create_async_dataloader(
        dataset, VarlenCollator(max_tokens_per_batch=200), num_workers=num_workers, prefetch_factor=1, keys=Keys()
    )
    with loader:
        for _ in range(2):  # each pass begins the keys again
            asked.clear()
            batches = iter(loader)
            first = next(batches)
            assert set(first.positions.tolist()) <= set(range(10))
            assert len(asked) <= 1 + num_workers
            assert list(first.sequence_ids) == list(dataset.sequence_ids(first.positions))
            found = [*first.positions.tolist(), *(place for batch in batches for place in batch.positions.tolist())]
            assert sorted(found) == list(range(100))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_changed_file_is_named_in_workers_too(path, num_workers):
    class Keys:
        def __iter__(self):
            yield SequenceRange(0, 50, flush=True)
            path.write_text(">a\nAC\n")
            yield SequenceRange(50, 100, flush=True)

    loader = create_async_dataloader(
        RangeDataset(path), VarlenCollator(), num_workers=num_workers, prefetch_factor=1, keys=Keys()
    )
    with loader, pytest.raises(WorkloadError, match="truncated while it was in use"):
        list(loader)


def test_another_error_of_a_worker_keeps_its_name(path):
    loader = create_async_dataloader(RangeDataset(path), VarlenCollator(), num_workers=1, keys=["no range"])
    with loader, pytest.raises(WorkerCrash, match="raised AttributeError"):
        list(loader)
