# SPDX-License-Identifier: MIT
"""Results in input order: the regrouping alone, and with loaders of every kind."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.support.fasta_files import random_records, write_fasta
from tests.support.packed import packed_batch, proteins
from virnuc_profiler import AsyncInferenceRunner
from virnuc_profiler.errors import NonFiniteError
from virnuc_profiler.inference.batches import InferenceResult
from virnuc_profiler.inference.input_order import InputOrder
from virnuc_profiler.inference.loading.loader import create_async_dataloader
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.sequences.dataset import IndexBasedDataset, SequenceDataset

RECORDS = random_records(400, longest=60)
INDICES = np.random.default_rng(3).permutation(400)[:250]


def result_of(*positions):
    """A result whose rows hold their positions."""
    embeddings = torch.tensor(positions, dtype=torch.float32)[:, None].repeat(1, 3)
    return InferenceResult([f"seq{one}" for one in positions], embeddings, 0, np.array(positions))


def add(order, *indices):
    return list(order.add(result_of(*indices), np.array(indices)))


def positions(groups):
    return [group.positions.tolist() for group in groups]


def test_a_sequence_waits_for_those_before_it():
    order = InputOrder()
    assert add(order, 3, 1) == []
    assert add(order, 5) == []
    assert order.held_back == 3
    (group,) = add(order, 0)
    assert group.positions.tolist() == [0, 1]
    assert list(group.sequence_ids) == ["seq0", "seq1"]
    assert group.sequence_ids[-1] == "seq1"
    assert list(group.sequence_ids[1:]) == ["seq1"]
    assert group.embeddings[:, 0].tolist() == [0, 1]
    assert positions(add(order, 2)) == [[2, 3]]
    assert positions(order.rest()) == [[5]]
    assert positions(order.rest()) == []


def test_groups_are_numbered_and_belong_to_the_consumer():
    order = InputOrder()
    groups = [group for index in range(4) for group in add(order, index)]
    assert [group.batch_idx for group in groups] == [0, 1, 2, 3]
    groups[0].embeddings.zero_()
    assert [group.embeddings[0, 0].item() for group in groups] == [0, 1, 2, 3]


def test_rows_are_reused():
    order = InputOrder()
    for index in range(0, 1000, 2):
        assert add(order, index + 1) == []
        assert positions(add(order, index)) == [[index, index + 1]]
    assert len(order._store._positions) == 2
    assert all(ids is None for ids in order._store._ids)


@pytest.mark.parametrize("again", [0, 4])
def test_a_sequence_that_comes_twice_is_refused(again):
    order = InputOrder()
    add(order, 0, 1)
    add(order, 4)
    with pytest.raises(ValueError, match=f"the sequence at index {again} of the input came twice"):
        add(order, again)
    assert positions(order.rest()) == [[4]]


class Model:
    """Returns each token as its vector."""

    def __call__(self, tokens, cu_seqlens, max_seqlen):
        return tokens[:, None].float().repeat(1, 2)


def loader_of(dataset, num_workers):
    collator = VarlenCollator(max_tokens_per_batch=256, buffer_size=40)
    return create_async_dataloader(dataset, collator, num_workers=num_workers, prefetch_factor=2)


@pytest.mark.parametrize("num_workers", [0, 3])
@pytest.mark.parametrize("indices", [None, INDICES, np.arange(200, 260)], ids=["all", "shuffled", "middle"])
def test_input_order_is_the_order_in_which_the_dataset_reads(tmp_path, indices, num_workers):
    path = write_fasta(tmp_path / "sequences.faa", RECORDS)
    options = {"max_sequence_length": 1022, "chunk_sequences": 7}
    dataset = SequenceDataset(path, **options) if indices is None else IndexBasedDataset(path, indices, **options)
    wanted = np.arange(400) if indices is None else indices
    runner = AsyncInferenceRunner(Model(), "cpu")
    as_they_come = list(runner.run(loader_of(dataset, num_workers)))
    groups = list(runner.run(loader_of(dataset, num_workers), in_order=True))

    assert np.concatenate([group.positions for group in groups]).tolist() == wanted.tolist()
    assert [name for group in groups for name in group.sequence_ids] == [f"seq_{one}" for one in wanted]
    assert [group.batch_idx for group in groups] == list(range(len(groups)))
    assert len(groups) > 1  # not all at the end
    vectors = {
        position: row
        for result in as_they_come
        for position, row in zip(result.positions.tolist(), result.embeddings, strict=True)
    }
    assert list(vectors) != wanted.tolist()
    assert torch.equal(torch.cat([group.embeddings for group in groups]), torch.stack([vectors[one] for one in wanted]))


def test_records_of_a_users_dataset_come_in_the_order_of_arrival():
    groups = list(AsyncInferenceRunner(Model(), "cpu").run(loader_of(RECORDS, 0), in_order=True))
    assert [name for group in groups for name in group.sequence_ids] == [name for name, _ in RECORDS]


def test_held_back_results_come_before_the_loaders_error():
    def loader():
        for first in (0, 4, 2):
            yield packed_batch(proteins([3, 5]), first_position=first)
        yield packed_batch(proteins([3]), first_position=9)
        raise OSError("disk gone")

    run = AsyncInferenceRunner(Model(), "cpu").run(loader(), in_order=True)
    assert positions([next(run), next(run), next(run)]) == [[0, 1], [2, 3, 4, 5], [9]]
    with pytest.raises(OSError, match="disk gone"):
        next(run)


def test_a_loader_that_repeats_a_sequence_is_refused():
    batch = packed_batch(proteins([3, 5]))
    run = AsyncInferenceRunner(Model(), "cpu").run([batch, batch], in_order=True)
    assert positions([next(run)]) == [[0, 1]]
    with pytest.raises(ValueError, match="came twice: in_order needs a loader that yields each"):
        next(run)


class Broken:
    """Returns NaN for sequences of five residues."""

    def __call__(self, tokens, cu_seqlens, max_seqlen):
        hidden = tokens[:, None].float().repeat(1, 2)
        for start, stop in pairwise(cu_seqlens):
            if stop - start == 7:
                hidden[start:stop] = torch.nan
        return hidden


def test_groups_name_their_non_finite_sequences():
    batches = [packed_batch(proteins(lengths), first) for lengths, first in (([5, 3], 2), ([3, 5], 0))]
    (group,) = AsyncInferenceRunner(Broken(), "cpu").run(batches, in_order=True)
    assert list(group.non_finite) == ["seq1", "seq2"]


def test_held_back_results_come_before_the_error_of_a_non_finite_batch():
    batches = [packed_batch(proteins(lengths), first) for lengths, first in (([3, 3], 2), ([3, 5], 0), ([3], 4))]
    run = AsyncInferenceRunner(Broken(), "cpu", on_non_finite="raise").run(batches, in_order=True)
    assert positions([next(run)]) == [[2, 3]]
    with pytest.raises(NonFiniteError) as caught:
        next(run)
    assert caught.value.sequence_ids == ["seq1"]
