# SPDX-License-Identifier: MIT
"""The files that targets read hold what the built-in pipeline would run: sequences, order, cuts, and tokens."""

import numpy as np
import pytest

from virnuc_profiler.inference.sequences.dataset import IndexBasedDataset
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.targets.workload_copies import WorkloadCopies


@pytest.fixture
def copies():
    copies = WorkloadCopies()
    yield copies
    copies.close()


@pytest.fixture
def odd(tmp_path):
    path = tmp_path / "odd.fasta"
    path.write_text(
        ">a first one\nmkv lat\nMK\n>b\n; a comment\nAAAA*\n>a\r\nCCCC\r\n>d\nDD\n>long\n" + "W" * 30 + "\n", newline=""
    )
    return FastaFile.open(path)


def copied(copies, fasta, positions=None, passes=1, max_residues=20):
    positions = np.arange(len(fasta)) if positions is None else np.array(positions)
    return copies.of(("test", len(positions)), fasta, positions, passes, max_residues)


def test_each_sequence_has_two_lines_in_the_order_asked_for(copies, odd):
    workload = copied(copies, odd)
    assert list(workload.records()) == [
        ("a", "MKVLATMK"), ("b", "AAAA"), ("a#2", "CCCC"), ("d", "DD"), ("long", "W" * 20),
    ]  # fmt: skip
    assert (workload.num_sequences, workload.max_residues, workload.passes) == (5, 20, 1)
    assert (workload.num_truncated, copied(copies, odd, passes=3).num_truncated) == (1, 1)
    assert [name for name, _ in copied(copies, odd, [4, 1]).records()] == ["long", "b"]


def test_its_tokens_are_those_of_the_built_in_pipeline(copies, odd):
    (chunk,) = IndexBasedDataset(odd, max_sequence_length=20)
    assert copied(copies, odd).num_tokens == len(chunk.tokens) == int((odd.residue_counts.clip(max=20) + 2).sum())


def test_further_passes_have_identifiers_of_their_own(copies, odd):
    workload = copied(copies, odd, passes=3)
    names = [name for name, _ in workload.records()]
    assert (len(names), len(set(names))) == (15, 15)
    assert {"b", "b#2", "b#3"} <= set(names)
    assert (workload.num_sequences, workload.passes) == (15, 3)
    assert workload.num_tokens == 3 * copied(copies, odd).num_tokens


def test_a_file_is_written_once_and_removed_in_the_end(copies, odd):
    first = copied(copies, odd)
    assert copied(copies, odd) is first
    for passes in range(2, 8):
        copied(copies, odd, passes=passes)
    assert not first.path.exists()
    folder = first.path.parent
    assert len(list(folder.glob("*.fasta"))) == 4
    copies.close()
    assert not folder.exists()


def test_a_number_is_never_one_that_a_record_of_the_file_has(copies, tmp_path):
    path = tmp_path / "numbered.fasta"
    path.write_text(">a\nMK\n>a\nMK\n>a#2\nMK\n>a#2\nMK\n>b\nMK\n>b#3\nMK\n")
    names = [name for name, _ in copied(copies, FastaFile.open(path), passes=3).records()]
    assert names[:6] == ["a", "a#3", "a#2", "a#2#2", "b", "b#3"]
    assert len(names) == len(set(names)) == 18
