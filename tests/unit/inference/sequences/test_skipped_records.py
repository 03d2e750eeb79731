# SPDX-License-Identifier: MIT
import pickle

import numpy as np
import pytest

from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.sequences.dataset import IndexBasedDataset, SequenceDataset
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.inference.sequences.skipped_records import SkippedRecord

BAD = b">a\nMKV\n>b\n>c x\nMK>V\n>\nMK\n>d\nMK\0\n>e\nMKL\n"
SKIPPED = [
    SkippedRecord(3, "b", "the sequence has no residues"),
    SkippedRecord(5, "c", "'>' inside a sequence (is the line end before it missing?)"),
    SkippedRecord(6, "", "a header without an identifier after its '>'"),
    SkippedRecord(9, "d", "byte 0x00 cannot belong to a sequence"),
]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.faa"
    path.write_bytes(BAD)
    return path


def test_the_error_names_all_faulty_records_of_a_few(path):
    with pytest.raises(WorkloadError) as caught:
        FastaFile.open(path)
    text = str(caught.value)
    assert text.startswith(f"{path}, line 3 (b): the sequence has no residues; line 5 (c): '>' inside")
    assert "; line 6: a header without" in text
    assert "; line 9 (d): byte 0x00 cannot belong to a sequence (4 invalid records in all)" in text
    assert "--skip-invalid" in text


def test_the_error_names_the_first_ten_of_many_and_their_number(path):
    path.write_bytes(b"junk\n" + b">a\n" * 1233 + b">b\nMKV\n")
    with pytest.raises(WorkloadError) as caught:
        FastaFile.open(path)
    text = str(caught.value)
    assert text.count("line ") == 10
    assert "line 1: text before the first header" in text
    assert "; and 1,224 more (1,234 invalid records in all)" in text


def test_records_that_are_not_valid_are_left_out_and_listed(path, caplog):
    dataset = SequenceDataset(path, skip_invalid=True)
    fasta = dataset.files[0]
    assert list(fasta.sequence_ids(np.arange(2))) == ["a", "e"]
    assert [np.diff(chunk.offsets).tolist() for chunk in dataset] == [[5], [5]] or sum(
        len(chunk.positions) for chunk in dataset
    ) == 2
    assert fasta.skipped == 4
    assert list(fasta.skipped_records()) == SKIPPED
    copy = pickle.loads(pickle.dumps(fasta))
    assert (copy.skip_invalid, list(copy.skipped_records())) == (True, SKIPPED)
    assert "4 invalid records were left out, the first in line 3 (b): the sequence has no residues" in caplog.text
    assert len(IndexBasedDataset(path, [1], skip_invalid=True)) == 1


def test_a_file_without_faults_is_read_alike(path, caplog):
    path.write_bytes(b">a\nMKV\n")
    fasta = SequenceDataset(path, skip_invalid=True).files[0]
    assert (len(fasta), fasta.skipped, list(fasta.skipped_records())) == (1, 0, [])
    assert caplog.records == []


def test_a_file_without_valid_records_is_refused(path):
    path.write_bytes(b">a\n>b\n")
    with pytest.raises(WorkloadError, match=r"line 1 \(a\): .*; line 2 \(b\): .* \(2 invalid records in all\)$"):
        FastaFile.open(path, skip_invalid=True)


def test_identifiers_of_any_bytes_are_listed_in_one_row(path):
    path.write_bytes(b">a\x1b\xe2\x80\xa8\x00b\n>c\nMK\n")
    fasta = FastaFile.open(path, skip_invalid=True)
    (record,) = fasta.skipped_records()
    assert record.id == r"a\x1b\u2028\x00b"
