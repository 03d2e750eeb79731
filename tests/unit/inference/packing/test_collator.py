# SPDX-License-Identifier: MIT
import dataclasses
import time

import esm
import numpy as np
import pytest
import torch

from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.batches import EncodedChunk
from virnuc_profiler.inference.packing.collator import MAX_TIMES_HELD_BACK, VarlenCollator
from virnuc_profiler.inference.sequences.dataset import SequenceDataset


def chunk(lengths, first=0):
    """A chunk of sequences of these lengths in tokens; each token names its sequence."""
    positions = np.arange(first, first + len(lengths))
    tokens = np.repeat((positions % 251).astype(np.uint8), lengths)
    return EncodedChunk(positions, tokens, np.concatenate([[0], np.cumsum(lengths)]))


def positions(batches):
    return [position for batch in batches for position in batch.positions.tolist()]


def check_batches(batches, lengths, budget):
    """Check that every batch is consistent, and within the budget or a single oversize sequence."""
    for batch in batches:
        sizes = [lengths[position] for position in batch.positions]
        assert batch.tokens.dtype == torch.uint8
        assert batch.cu_seqlens.dtype == torch.int32
        assert batch.cu_seqlens.tolist() == [0, *np.cumsum(sizes)]
        assert batch.tokens.tolist() == np.repeat(batch.positions % 251, sizes).tolist()
        assert batch.max_seqlen == max(sizes)
        assert batch.statistics.token_budget == budget
        assert batch.statistics.tokens == sum(sizes)
        assert batch.statistics.tokens <= budget or (len(sizes) == 1 and batch.statistics.oversize)


def run(collator, chunks):
    return [batch for one in chunks for batch in collator(one)] + collator.flush()


@pytest.mark.parametrize("enable_packing", [True, False])
@pytest.mark.parametrize("buffer_size", [1, 2, 7, 100, 5000])
@pytest.mark.parametrize("budget", [40, 100, 700])
def test_every_sequence_comes_out_once(enable_packing, buffer_size, budget):
    lengths = np.random.default_rng(budget).integers(3, 60, 400)
    collator = VarlenCollator(
        max_tokens_per_batch=budget, max_sequence_length=58, buffer_size=buffer_size, enable_packing=enable_packing
    )
    batches = run(collator, [chunk(lengths[i : i + 33], i) for i in range(0, 400, 33)])
    check_batches(batches, lengths, budget)
    assert sorted(positions(batches)) == list(range(400))
    assert collator.sequences_in == collator.sequences_out == 400
    assert collator.flush() == []


@pytest.mark.parametrize("enable_packing", [True, False])
def test_batches_do_not_depend_on_how_sequences_were_chunked(enable_packing):
    lengths = np.random.default_rng(1).integers(3, 60, 300)

    def contents(size):
        collator = VarlenCollator(
            max_tokens_per_batch=200, max_sequence_length=58, buffer_size=40, enable_packing=enable_packing
        )
        batches = run(collator, [chunk(lengths[i : i + size], i) for i in range(0, 300, size)])
        return [batch.positions.tolist() for batch in batches]

    assert contents(1) == contents(17) == contents(300)


def test_nothing_is_emitted_before_the_buffer_is_full():
    collator = VarlenCollator(max_tokens_per_batch=100, max_sequence_length=98, buffer_size=10)
    assert collator(chunk([50] * 9)) == []
    assert sorted(positions(collator(chunk([50], first=9)))) == list(range(10))


def test_poorly_filled_packs_wait_for_the_next_packing():
    collator = VarlenCollator(max_tokens_per_batch=100, max_sequence_length=98, buffer_size=9)
    batches = collator(chunk([50] * 9))
    assert [batch.statistics.tokens for batch in batches] == [100] * 4
    assert len(collator(chunk([50] * 7, first=9))) == 0
    assert sorted(positions(collator(chunk([50], first=16)) + collator.flush())) == list(range(8, 17))


def test_no_sequence_waits_forever():
    """Sequences of 60 tokens never fill a budget of 100, but each is emitted within a few packings."""
    collator = VarlenCollator(max_tokens_per_batch=100, max_sequence_length=98, buffer_size=10)
    first_seen = {}
    for call in range(200):
        for position in positions(collator(chunk([60], first=call))):
            first_seen[position] = call - position
    # Each packing includes at least five new sequences, and each call adds one.
    assert max(first_seen.values()) <= 10 * (MAX_TIMES_HELD_BACK + 1)
    assert len(first_seen) >= 200 - 10


def test_holding_back_saves_batches():
    lengths = np.random.default_rng(0).integers(30, 300, 3000)
    collator = VarlenCollator(max_tokens_per_batch=4096, buffer_size=250)
    batches = run(collator, [chunk(lengths[i : i + 100], i) for i in range(0, 3000, 100)])
    needed = -(-lengths.sum() // 4096)
    assert len(batches) <= needed + 2


def test_without_packing_batches_are_filled_in_order_of_arrival():
    collator = VarlenCollator(max_tokens_per_batch=10, max_sequence_length=98, enable_packing=False)
    batches = run(collator, [chunk([4, 4, 4]), chunk([6, 25, 10, 1], first=3)])
    assert [batch.positions.tolist() for batch in batches] == [[0, 1], [2, 3], [4], [5], [6]]


def test_an_oversize_sequence_is_flagged_and_has_no_efficiency():
    collator = VarlenCollator(max_tokens_per_batch=20, max_sequence_length=98)
    batches = run(collator, [chunk([5, 30, 20])])
    assert [batch.statistics.oversize for batch in batches] == [True, False, False]
    assert [batch.statistics.packing_efficiency for batch in batches] == [None, 1.0, 0.25]


def test_plain_sequences_get_fair_esms_tokens_and_their_identifiers():
    alphabet = esm.data.Alphabet.from_architecture("ESM-1b")
    records = random_records(30, longest=90)
    expected = alphabet.get_batch_converter()([(name, sequence[:50]) for name, sequence in records])[2]
    for items in (records, [{"id": name, "sequence": sequence} for name, sequence in records], iter(records)):
        collator = VarlenCollator(
            alphabet.get_batch_converter(), max_tokens_per_batch=200, max_sequence_length=50, buffer_size=11
        )
        batches = run(collator, [items])
        assert sorted(positions(batches)) == list(range(30))
        for batch in batches:
            ends = batch.cu_seqlens.tolist()
            for row, position in enumerate(batch.positions.tolist()):
                assert batch.sequence_ids[row] == records[position][0]
                length = ends[row + 1] - ends[row]
                assert batch.tokens[ends[row] : ends[row + 1]].tolist() == expected[position, :length].tolist()
        assert collator.truncated == sum(len(sequence) > 50 for _, sequence in records)


def test_plain_sequences_one_call_each():
    collator = VarlenCollator(max_tokens_per_batch=200, max_sequence_length=50, buffer_size=4)
    batches = run(collator, [[(f"name {i}", "MKV")] for i in range(10)])
    assert sorted(name for batch in batches for name in batch.sequence_ids) == sorted(f"name {i}" for i in range(10))


def test_every_letter_outside_the_alphabet_is_counted():
    collator = VarlenCollator(None)
    (batch,) = run(collator, [[("a", "mJk\u00e9\U0001f600*V *\n")]])
    alphabet = esm.data.Alphabet.from_architecture("ESM-1b")
    unknown = alphabet.unk_idx
    letters = [alphabet.get_idx(letter) for letter in "MKV"]
    inner = [letters[0], unknown, letters[1], unknown, unknown, unknown, letters[2]]
    assert batch.tokens.tolist() == [alphabet.cls_idx, *inner, alphabet.eos_idx]
    assert collator.unknown_residues == 4


def test_a_plain_sequence_without_residues_is_an_error():
    with pytest.raises(WorkloadError, match=r"'b' \(position 1\) has no residues"):
        VarlenCollator(None)([("a", "MK"), ("b", " *")])


def test_identifiers_of_chunks_come_from_resolve_ids(tmp_path):
    dataset = SequenceDataset(write_fasta(tmp_path / "x.faa", random_records(20, longest=50)))
    collator = VarlenCollator(None)
    (alone,) = run(collator, dataset)
    assert list(alone.sequence_ids) == [str(position) for position in alone.positions]
    collator.reset()
    collator.resolve_ids = dataset.sequence_ids
    (batch,) = run(collator, dataset)
    assert list(batch.sequence_ids) == [f"seq_{position}" for position in batch.positions]


def test_chunks_and_plain_sequences_do_not_mix():
    collator = VarlenCollator(None)
    collator(chunk([5]))
    with pytest.raises(ValueError, match="cannot be mixed"):
        collator([("a", "MK")])
    collator.reset()
    collator([("a", "MK")])
    with pytest.raises(ValueError, match="cannot be mixed"):
        collator(chunk([5]))


def test_a_limit_that_differs_from_the_datasets_is_an_error():
    with pytest.raises(ValueError, match="max_sequence_length is 50, but the dataset sends sequences of 51"):
        VarlenCollator(None, max_sequence_length=50)(chunk([53]))


def test_counters_add_up_and_reset_clears_them():
    collator = VarlenCollator(max_tokens_per_batch=4096, max_sequence_length=100)
    one = chunk([5, 6])
    for _ in range(3):
        collator(EncodedChunk(one.positions, one.tokens, one.offsets, truncated=2, unknown_residues=7))
    assert (collator.truncated, collator.unknown_residues, collator.sequences_in) == (6, 21, 6)
    collator.reset()
    assert (collator.truncated, collator.unknown_residues, collator.sequences_in) == (0, 0, 0)
    assert collator.flush() == []


def test_collation_intervals_do_not_overlap():
    collator = VarlenCollator(max_tokens_per_batch=100, max_sequence_length=98, buffer_size=50)
    before = time.monotonic_ns()
    batches = collator(chunk([40] * 50)) + collator.flush()
    after = time.monotonic_ns()
    times = [time for batch in batches for time in (batch.collate_start_ns, batch.collate_end_ns)]
    assert [before, *times, after] == sorted([before, *times, after])


def test_batches_are_yielded_one_by_one():
    """The first batch is available before the second is gathered."""
    collator = VarlenCollator(max_tokens_per_batch=100, max_sequence_length=98, buffer_size=50)
    packs = collator.packs(chunk([40] * 50))
    next(packs)
    assert collator.sequences_out == 2
    assert len(list(packs)) > 1


def test_the_budget_can_be_changed_and_efficiency_refers_to_it():
    collator = VarlenCollator(max_tokens_per_batch=100, max_sequence_length=98)
    collator.max_tokens_per_batch = 50
    (batch,) = run(collator, [chunk([40])])
    assert batch.statistics.packing_efficiency == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_tokens_per_batch": 0}, ValueError, "max_tokens_per_batch is 0, must be from 1 to 2147483647"),
        ({"max_tokens_per_batch": 2**31}, ValueError, "max_tokens_per_batch is 2147483648"),
        ({"max_tokens_per_batch": "4096"}, TypeError, "max_tokens_per_batch is '4096', must be an integer"),
        ({"max_sequence_length": 0}, ValueError, "max_sequence_length is 0, must be at least 1"),
        ({"buffer_size": 0}, ValueError, "buffer_size is 0, must be at least 1"),
        ({"buffer_size": True}, TypeError, "buffer_size is True"),
        ({"batch_converter": object()}, TypeError, "no fair-esm Alphabet or BatchConverter"),
    ],
)
def test_misuse(options, error, message):
    with pytest.raises(error, match=message):
        VarlenCollator(**options)


def test_an_alphabet_without_eos_is_refused():
    alphabet = esm.data.Alphabet.from_architecture("MSA Transformer")
    with pytest.raises(ValueError, match="must add BOS and EOS"):
        VarlenCollator(alphabet)


PAIR = ("a", "MK")


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        (
            ["MK", "AY"],
            TypeError,
            r"the item at position 0 is the string 'MK': pass \(id, sequence\) pairs or \{\"id\"",
        ),
        ([PAIR, "AY"], TypeError, "the item at position 1 is the string 'AY'"),
        ("MKV", TypeError, "the single string 'MKV' instead of a list"),
        (PAIR, TypeError, "the item at position 0 is the string 'a'"),
        ({"id": "a", "sequence": "MK"}, TypeError, "the single dict .* instead of a list"),
        ([PAIR, {"id": "b"}], ValueError, "the dict at position 1 lacks the key 'sequence', {'id': 'b'}"),
        ([{"sequence": "MK"}], ValueError, "the dict at position 0 lacks the key 'id'"),
        ([PAIR, ("a", "MK", "x")], ValueError, "the item at position 1 has 3 parts"),
        ([("a", 5)], TypeError, "the sequence at position 0 is the int 5"),
        ([(7, "MK")], TypeError, "the id at position 0 is the int 7"),
        ([{"id": None, "sequence": "MK"}], TypeError, "the id at position 0 is the NoneType None"),
        ([PAIR, ("b", b"MK")], TypeError, "the sequence at position 1 is the bytes b'MK'"),
        ([np.arange(2)], TypeError, "the item at position 0 is the ndarray"),
        (5, TypeError, "5, which is not a list of sequences"),
        (None, TypeError, "None, which is not a list of sequences"),
    ],
)
def test_other_forms_of_sequences_are_refused(items, error, message):
    collator = VarlenCollator()
    collator([("first", "MKV")])
    collator.reset()
    with pytest.raises(error, match=message) as caught:
        collator(items)
    assert 'pass (id, sequence) pairs or {"id": ..., "sequence": ...} dicts' in str(caught.value)
    assert "\n" not in str(caught.value)
    assert collator.sequences_in == 0  # the refused call changed nothing
    (batch,) = run(collator, [[PAIR]])
    assert list(batch.sequence_ids) == ["a"]


def test_a_refused_item_is_named_by_its_position_in_the_pass():
    collator = VarlenCollator()
    collator([PAIR, PAIR])
    with pytest.raises(TypeError, match="the item at position 3 is the string 'AY'"):
        collator([PAIR, "AY"])


def test_pairs_and_dicts_may_be_mixed():
    items = [PAIR, ["b", "AY"], {"id": "c", "sequence": "M", "length": 1}]
    (batch,) = run(VarlenCollator(), [items])
    assert sorted(batch.sequence_ids) == ["a", "b", "c"]


def test_options_are_keyword_only():
    with pytest.raises(TypeError, match="positional argument"):
        VarlenCollator(None, 4096)


@pytest.mark.parametrize("enable_packing", [True, False])
def test_a_chunk_with_flush_shares_no_batch_with_later_ones(enable_packing):
    lengths = np.random.default_rng(3).integers(3, 60, 90)
    options = {"max_tokens_per_batch": 100, "max_sequence_length": 58, "buffer_size": 25}
    collator = VarlenCollator(**options, enable_packing=enable_packing)
    parts = [lengths[:30], lengths[30:60], lengths[60:]]
    chunks = [dataclasses.replace(chunk(part, 30 * number), flush=True) for number, part in enumerate(parts)]
    for number, one in enumerate(chunks):
        batches = collator(one)
        check_batches(batches, lengths, 100)
        assert sorted(positions(batches)) == list(range(30 * number, 30 * number + 30))
        alone = VarlenCollator(**options, enable_packing=enable_packing)
        assert [batch.positions.tolist() for batch in run(alone, [one])] == [one.positions.tolist() for one in batches]
    assert collator.flush() == []
