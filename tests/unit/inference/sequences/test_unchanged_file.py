# SPDX-License-Identifier: MIT
"""A file that another process truncates, overwrites or replaces while it is read: an error that says so, no signal."""

import os
import pickle
import shutil

import numpy as np
import pytest

from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler import _core
from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.loading.loader import create_async_dataloader
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.sequences import fasta as fasta_module
from virnuc_profiler.inference.sequences.dataset import IndexBasedDataset, SequenceDataset
from virnuc_profiler.inference.sequences.fasta import FastaFile

COUNT = 400


@pytest.fixture
def path(tmp_path):
    return write_fasta(tmp_path / "x.faa", random_records(COUNT))


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def overwrite(path):
    """Write other residues in place; the size stays."""
    with path.open("r+b") as file:
        file.seek(-20, os.SEEK_END)
        file.write(b"A" * 19)
    os.utime(path, ns=(1, 1))  # on a coarse clock the time of the writing may be that of the file's creation


def append(path):
    with path.open("ab") as file:
        file.write(b">more\nMKV\n")


def replace(path):
    new = path.with_name("new.faa")
    new.write_bytes(path.read_bytes()[::-1])
    new.rename(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (truncate, "truncated while it was in use: it had .* bytes when it was indexed and has .* now"),
        (empty, "truncated while it was in use: it had .* bytes when it was indexed and has 0 now"),
        (overwrite, "changed while it was in use: it has the same size"),
        (append, "changed while it was in use: it had .* bytes"),
    ],
)
@pytest.mark.parametrize("order", ["input", "any"])
def test_a_change_while_a_dataset_is_iterated_is_an_error_that_names_the_file(path, change, message, order):
    indices = None if order == "input" else np.random.default_rng(0).permutation(COUNT)
    chunks = iter(IndexBasedDataset(path, indices, chunk_sequences=10))
    assert len(next(chunks).positions) == 10
    change(path)
    with pytest.raises(WorkloadError, match=rf"x\.faa was {message}"):
        list(chunks)


def test_identifiers_notice_a_change_too(path):
    names = FastaFile.open(path).sequence_ids(np.arange(COUNT))
    assert names[0] == "seq_0"
    truncate(path)
    for read in (lambda: names[COUNT - 1], lambda: list(names)):
        with pytest.raises(WorkloadError, match=r"x\.faa was truncated"):
            read()


def test_another_process_does_not_take_a_replacement_for_the_file(path):
    fasta = FastaFile.open(path)
    message = pickle.dumps(fasta)
    replace(path)
    with pytest.raises(WorkloadError, match=r"x\.faa was replaced by another file"):
        pickle.loads(message).read_sequences(np.arange(1))


def test_a_copy_with_the_same_bytes_is_accepted_if_their_fingerprint_is_known(path):
    fasta = FastaFile.open(path)
    unknown = pickle.dumps(fasta)
    before = fasta.read_sequences(np.arange(3))[0]
    assert fasta.fingerprint.startswith("sha256:")
    known = pickle.dumps(fasta)
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").rename(path)
    os.utime(path)
    assert np.array_equal(pickle.loads(known).read_sequences(np.arange(3))[0], before)
    with pytest.raises(WorkloadError, match="replaced by another file"):
        pickle.loads(unknown).read_sequences(np.arange(3))


def test_the_fingerprint_is_that_of_the_bytes_that_were_indexed(path):
    fasta = FastaFile.open(path)
    overwrite(path)
    with pytest.raises(WorkloadError, match=r"x\.faa was changed"):
        _ = fasta.fingerprint


@pytest.mark.parametrize("change", [truncate, append])
def test_a_change_while_the_file_is_indexed_is_no_error_of_format(path, change, monkeypatch):
    class Indexer:
        def __init__(self, **options):
            self._real = _core.FastaIndexer(**options)

        def feed(self, piece):
            self._real.feed(piece)
            change(path)

        def finish(self):
            return self._real.finish()

    monkeypatch.setattr(fasta_module, "FastaIndexer", Indexer)
    monkeypatch.setattr(fasta_module, "BLOCK_BYTES", 5000)
    with pytest.raises(WorkloadError, match=r"x\.faa was (truncated|changed) while it was in use"):
        FastaFile.open(path)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_says_what_happened_to_the_file_whoever_reads_it(path, workers):
    dataset = SequenceDataset(path, chunk_sequences=2)
    truncate(path)
    loader = create_async_dataloader(dataset, VarlenCollator(), num_workers=workers, pin_memory=False)
    with loader, pytest.raises(WorkloadError, match=r"x\.faa was truncated while it was in use"):
        list(loader)


def test_ranges_are_read_in_any_order(path):
    text = path.read_bytes()
    fasta = FastaFile.open(path)
    source = np.random.default_rng(3)
    for positions in (np.arange(COUNT), source.permutation(COUNT), np.array([399, 0, 0, 7]), np.arange(0)):
        found, starts, ends = fasta.read_sequences(positions)
        pieces = [found[start:end].tobytes() for start, end in zip(starts, ends, strict=True)]
        index = fasta.index
        assert pieces == [text[index.sequence_starts[i] : index.sequence_ends[i]] for i in positions]


def test_ranges_that_are_none_are_refused(path):
    with path.open("rb") as file:
        one = np.array([4])
        with pytest.raises(ValueError, match="range 0 goes from 4 to 3"):
            _core.read_file_ranges(file.fileno(), one, one - 1)
        with pytest.raises(ValueError, match="differ in size: 1 and 0"):
            _core.read_file_ranges(file.fileno(), one, one[:0])
        with pytest.raises(EOFError, match="the file ends at byte"):
            _core.read_file_ranges(file.fileno(), one, one + 10**9)
    with pytest.raises(OSError, match="Bad file descriptor"):
        _core.read_file_ranges(-1, one, one + 1)
