# SPDX-License-Identifier: MIT
import logging
import pickle

import pytest

from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.sequences.dataset import IndexBasedDataset, SequenceDataset
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.inference.sequences.findings import Finding

SUSPICIOUS = [
    (b">a\nMKV\n>b\n" + b"ACGTN" * 20 + b"\n", "1 sequence looks like nucleotides", "line 3 (b)"),
    (b">a\nMK-V..\n>b\n------\n", "2 sequences hold 9 gaps", "line 2 (a)"),
    (b">a\nMKVLA 10\nMKVLA 20\n", "1 sequence holds 4 digits", "line 2 (a)"),
    (b">a\nMKV\n>b\nMK*VL*\n", "1 sequence holds 1 inner stop ", "line 4 (b)"),
    (b">a\nMKV\n\n  Failed: try [later]\n", "1 sequence holds 3 other characters", "line 4 (a)"),
    (b">a\nMKV\n>b\nMKV\nFailed to retrieve sequence\n", "1 line of sequences reads like a message", "line 5 (b)"),
    (b">a\nMKVX\n>b\nXXXXJ\n>c\nXXX\n", "2 sequences are unknown by more than half", "line 3 (b)"),
]
HARMLESS = [
    (b"; note\n>a\nMKV\n# note\n//\n", "3 comment lines skipped", "line 1)"),
    (b">a x\rMKV\r>b\rMKL\nACD\n", "3 lines end with a CR alone, which is read as a line end", "line 1 (a)"),
]


def written(folder, content, name="x.faa"):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("content", "what", "first"), SUSPICIOUS + HARMLESS)
def test_a_dataset_warns_once_with_count_and_first_place(tmp_path, caplog, content, what, first):
    path = written(tmp_path, content)
    dataset = SequenceDataset(path)
    list(dataset)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{path}: " in record.getMessage()
    assert what in record.getMessage()
    assert f"(first: {first}" in record.getMessage()
    caplog.clear()
    SequenceDataset(dataset.files[0])  # the warning came when the file was opened
    assert caplog.records == []


@pytest.mark.parametrize(("content", "what", "first"), SUSPICIOUS)
def test_strict_reading_makes_it_an_error(tmp_path, content, what, first):
    path = written(tmp_path, content)
    for read in (FastaFile.open, SequenceDataset, IndexBasedDataset):
        with pytest.raises(WorkloadError, match=r"x\.faa is refused") as caught:
            read(path, strict=True)
        assert what in str(caught.value)
        assert first in str(caught.value)


@pytest.mark.parametrize(("content", "what", "first"), HARMLESS)
def test_strict_reading_accepts_what_changes_no_sequence(tmp_path, content, what, first):
    (finding,) = FastaFile.open(written(tmp_path, content), strict=True).findings
    assert not finding.is_suspicious
    assert what in str(finding)
    assert first in str(finding)


def test_proteins_give_no_warning(tmp_path, caplog):
    content = b">a\nmkvlBZUOX\n>short\nACG\n>blocks\nMKVLAWWWCC MKVLAWWWCC MKV*\r\n\r\n>b\nM\n"
    dataset = SequenceDataset(written(tmp_path, content), strict=True)
    assert caplog.records == []
    assert dataset.files[0].findings == ()


def test_findings_travel_with_the_file_and_as_json(tmp_path):
    fasta = FastaFile.open(written(tmp_path, b">a\xff\nMK-V\n"))
    assert pickle.loads(pickle.dumps(fasta)).findings == fasta.findings
    assert [finding.to_json() for finding in fasta.findings] == [
        {"kind": "gaps", "sequences": 1, "count": 1, "line": 2, "id": "a\ufffd"}
    ]
    (finding,) = fasta.findings
    assert Finding.from_json({**finding.to_json(), "later": 1}) == finding
    assert str(Finding("later_kind", 1, 2, 3, "x")) == "2 later kind (first: line 3 (x))"
