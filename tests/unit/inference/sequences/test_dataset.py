# SPDX-License-Identifier: MIT
import pickle
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.sequences import dataset as dataset_module
from virnuc_profiler.inference.sequences.alphabet import residue_alphabet
from virnuc_profiler.inference.sequences.dataset import IndexBasedDataset, SequenceDataset
from virnuc_profiler.inference.sequences.fasta import FastaFile


@pytest.fixture
def records():
    return random_records(100, longest=50)


@pytest.fixture
def path(tmp_path, records):
    return write_fasta(tmp_path / "sequences.faa", records)


def positions(chunks):
    return np.concatenate([chunk.positions for chunk in chunks]).tolist()


def residues(chunks):
    """Decode each sequence from its tokens."""
    alphabet = residue_alphabet()
    letters = {alphabet.table[ord(letter)]: letter for letter in "ACDEFGHIKLMNPQRSTVWY"} | {alphabet.unknown: "?"}
    found = []
    for chunk in chunks:
        for start, end in zip(chunk.offsets, chunk.offsets[1:], strict=False):
            tokens = chunk.tokens[start:end]
            assert (tokens[0], tokens[-1]) == (alphabet.bos, alphabet.eos)
            found.append("".join(letters[token] for token in tokens[1:-1]))
    return found


def chunks_of_worker(monkeypatch, dataset, number, workers):
    monkeypatch.setattr(dataset_module, "get_worker_info", lambda: SimpleNamespace(id=number, num_workers=workers))
    return list(dataset)


def test_all_sequences_in_input_order(path, records):
    dataset = SequenceDataset(path, chunk_sequences=7)
    chunks = list(dataset)
    assert len(dataset) == 100
    assert positions(chunks) == list(range(100))
    assert residues(chunks) == [sequence for _, sequence in records]
    assert list(dataset.sequence_ids(np.array([3, 1]))) == ["seq_3", "seq_1"]
    assert dataset.residue_counts.tolist() == [len(sequence) for _, sequence in records]
    assert {chunk.tokens.dtype for chunk in chunks} == {np.dtype(np.uint8)}


@pytest.mark.parametrize(("workers", "chunk_sequences"), [(1, 7), (3, 7), (4, 256), (8, 1), (150, 256)])
def test_chunk_k_goes_to_worker_k_mod_n(monkeypatch, path, workers, chunk_sequences):
    dataset = SequenceDataset(path, chunk_sequences=chunk_sequences)
    shares = [chunks_of_worker(monkeypatch, dataset, worker, workers) for worker in range(workers)]
    taken_in_turn = [share[turn] for turn in range(len(shares[0])) for share in shares if turn < len(share)]
    assert positions(taken_in_turn) == list(range(100))
    assert max(len(chunk.positions) for chunk in taken_in_turn) <= chunk_sequences


def test_chunks_hold_as_many_tokens_of_short_sequences_as_of_long_ones(tmp_path):
    def tokens_of_chunks(length, count):
        path = write_fasta(tmp_path / f"{length}.faa", [(str(i), "M" * length) for i in range(count)])
        return [len(chunk.tokens) for chunk in SequenceDataset(path, max_sequence_length=1022)]

    for length, count in ((5, 40_000), (500, 600), (5000, 300)):
        *whole, _rest = tokens_of_chunks(length, count)
        assert whole
        assert all(120_000 < tokens <= 132_000 for tokens in whole)


def test_a_few_huge_sequences_do_not_make_chunks_small(tmp_path):
    path = write_fasta(tmp_path / "skewed.faa", [("0", "M" * 5_000_000), *((str(i), "MKV") for i in range(1, 30_000))])
    first, *_ = SequenceDataset(path)
    assert len(first.tokens) > 120_000
    first, *_ = IndexBasedDataset(path, range(1, 30_000))
    assert 120_000 < len(first.tokens) <= 132_000


def test_a_small_file_keeps_all_workers_busy(monkeypatch, path):
    dataset = SequenceDataset(path)
    chunks = [len(chunks_of_worker(monkeypatch, dataset, worker, 8)) for worker in range(8)]
    assert min(chunks) >= 3


def test_positions_continue_across_files(tmp_path):
    groups = [random_records(count, longest=30, seed=count) for count in (10, 1, 25)]
    paths = [write_fasta(tmp_path / f"{i}.faa", group, packed=i == 1) for i, group in enumerate(groups)]
    dataset = SequenceDataset(paths, chunk_sequences=12)
    chunks = list(dataset)
    assert positions(chunks) == list(range(36))
    assert residues(chunks) == [sequence for group in groups for _, sequence in group]
    assert list(dataset.sequence_ids(np.array([9, 10, 11, 35, 0]))) == [
        "seq_9",
        "seq_0",
        "seq_0",
        "seq_24",
        "seq_0",
    ]


def test_indices_are_read_in_their_order(path, records):
    chosen = [70, 3, 99, 0, 41]
    dataset = IndexBasedDataset(path, chosen, chunk_sequences=2)
    chunks = list(dataset)
    assert len(dataset) == 5
    assert positions(chunks) == chosen
    assert residues(chunks) == [records[i][1] for i in chosen]
    assert dataset.residue_counts.tolist() == [len(records[i][1]) for i in chosen]


def test_indices_span_files(tmp_path):
    paths = [write_fasta(tmp_path / f"{i}.faa", random_records(10, seed=i, longest=30)) for i in range(2)]
    dataset = IndexBasedDataset(paths, [15, 2, 3, 19])
    expected = [random_records(10, seed=seed, longest=30)[i][1] for seed, i in [(1, 5), (0, 2), (0, 3), (1, 9)]]
    assert residues(dataset) == expected


def test_empty_indices_give_no_chunks(path):
    dataset = IndexBasedDataset(path, [])
    assert len(dataset) == 0
    assert list(dataset) == []


def test_one_index_serves_several_datasets(path):
    fasta = FastaFile.open(path)
    halves = [IndexBasedDataset(fasta, range(start, 100, 2)) for start in (0, 1)]
    assert sorted(positions(halves[0]) + positions(halves[1])) == list(range(100))


def test_the_pickled_dataset_is_small(path, tmp_path):
    write_fasta(tmp_path / "large.faa", random_records(20_000, longest=5))
    chosen = np.random.default_rng(0).permutation(20_000)
    for dataset in (
        SequenceDataset(tmp_path / "large.faa"),
        IndexBasedDataset(tmp_path / "large.faa", chosen),
    ):
        message = pickle.dumps(dataset)
        assert len(message) < 3000
        assert positions(pickle.loads(message)) == positions(dataset)


def test_long_sequences_are_truncated_and_unknown_letters_counted(tmp_path):
    path = write_fasta(tmp_path / "x.faa", [("a", "MKV"), ("b", "MKVLA"), ("c", "MJ*")])
    (chunk,) = SequenceDataset(path, max_sequence_length=3)
    assert residues([chunk]) == ["MKV", "MKV", "M?"]
    assert (chunk.truncated, chunk.unknown_residues) == (1, 1)


def test_comment_lines_are_no_residues_wherever_they_stand(tmp_path):
    path = tmp_path / "x.faa"
    path.write_bytes(b"; a\n>a\n;b\nMKV\n# c\nLA\n//\n>b\r;d\rAC*\r# e")
    (chunk,) = SequenceDataset(path)
    assert residues([chunk]) == ["MKVLA", "AC"]
    assert chunk.unknown_residues == 0
    (chunk,) = SequenceDataset(path, max_sequence_length=5)
    assert chunk.truncated == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_sequence_length": 0}, "max_sequence_length is 0, must be at least 1"),
        ({"chunk_sequences": -1}, "chunk_sequences is -1, must be at least 1"),
        ({"indices": [0, 100]}, "indices holds 100, must be from 0 to 99"),
        ({"indices": [-1]}, "indices holds -1, must be from 0 to 99"),
        ({"indices": [4, 7, 4]}, "indices holds 4 more than once"),
        ({"indices": [0.5]}, "must be a list of integers"),
        ({"indices": [[1]]}, "must be a list of integers"),
    ],
)
def test_misuse(path, options, message):
    with pytest.raises(ValueError, match=message):
        IndexBasedDataset(path, **options)


def test_misuse_by_type(path):
    with pytest.raises(TypeError, match=r"chunk_sequences is 2\.5, must be an integer"):
        SequenceDataset(path, chunk_sequences=2.5)
    with pytest.raises(TypeError, match="no fair-esm Alphabet"):
        SequenceDataset(path, alphabet="ACDEF")
    with pytest.raises(ValueError, match="must name at least one file"):
        SequenceDataset([])


def test_a_missing_file_is_reported_at_once(tmp_path):
    with pytest.raises(WorkloadError, match=r"nowhere\.faa"):
        SequenceDataset([write_fasta(tmp_path / "x.faa", [("a", "MK")]), tmp_path / "nowhere.faa"])


@pytest.mark.parametrize(("workers", "chunk_sequences"), [(1, 7), (3, 7), (4, 256), (8, 1), (150, 256)])
def test_chunk_g_of_repeated_passes_goes_to_worker_g_mod_n(monkeypatch, path, workers, chunk_sequences):
    dataset = SequenceDataset(path, chunk_sequences=chunk_sequences)
    chunks = 3 * dataset.chunks_per_pass(workers)
    read = []
    for number in range(workers):
        worker = SimpleNamespace(id=number, num_workers=workers)
        monkeypatch.setattr(dataset_module, "get_worker_info", lambda worker=worker: worker)
        read.append(list(islice(dataset.repeated(), len(range(number, chunks, workers)))))
    in_order = [read[g % workers][g // workers] for g in range(chunks)]
    assert positions(in_order) == list(range(100)) * 3
    sizes = [len(chunk.positions) for chunk in in_order]
    assert sizes == sizes[: chunks // 3] * 3


def test_passes_over_nothing_have_no_chunks(path):
    dataset = IndexBasedDataset(path, [])
    assert dataset.chunks_per_pass(0) == dataset.chunks_per_pass(2) == 0
    assert list(dataset.repeated()) == []
