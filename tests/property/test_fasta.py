# SPDX-License-Identifier: MIT
import gzip
import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virnuc_profiler import _core
from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.sequences.dataset import SequenceDataset
from virnuc_profiler.inference.sequences.fasta import FastaFile

WHITE_SPACE = b" \t\n\r\v\f"
LETTERS = "ACDEFGHIKLMNPQRSTVWYXBUZO.-J"

ids = st.binary(min_size=1, max_size=12).filter(lambda name: not set(name) & set(WHITE_SPACE))
descriptions = st.binary(max_size=12).filter(lambda text: b"\n" not in text)
sequences = st.text(LETTERS, min_size=1, max_size=200)
blank_lines = st.sampled_from([b"", b"", b"\n", b" \t\n\n"])


@st.composite
def layouts(draw, sequence, line_end):
    """Return the lines of a sequence in one of the common layouts."""
    text = "".join(letter.lower() if draw(st.booleans()) else letter for letter in sequence[:20]) + sequence[20:]
    text += draw(st.sampled_from(["", "", "*"]))
    lines = []
    while text:
        width = draw(st.integers(1, 80))
        line, text = text[:width], text[width:]
        pad = draw(st.sampled_from([b"", b"", b"  ", b"\t"]))
        middle = len(line) // 2
        gap = draw(st.sampled_from([b"", b"", b" "]))
        lines.append(line[:middle].encode() + gap + line[middle:].encode() + pad + line_end)
        lines.append(draw(blank_lines))
    return b"".join(lines)


@st.composite
def files(draw):
    """Return records, and a text that contains them."""
    records = draw(st.lists(st.tuples(ids, sequences), min_size=1, max_size=8))
    line_end = draw(st.sampled_from([b"\n", b"\r\n"]))
    text = draw(blank_lines)
    for name, sequence in records:
        description = draw(descriptions)
        separator = draw(st.sampled_from([b" ", b"\t"])) if description else b""
        text += b">" + name + separator + description + line_end + draw(layouts(sequence, line_end))
    if draw(st.booleans()):
        text = text.rstrip(b"\r\n")
    return records, text


@given(files())
def test_the_index_gives_back_the_records_whatever_their_layout(case):
    records, text = case
    index = _core.index_fasta(text)
    for i, (name, sequence) in enumerate(records):
        assert text[index.header_starts[i] : index.id_ends[i]] == name
        found = b"".join(text[index.sequence_starts[i] : index.sequence_ends[i]].split()).decode().upper()
        assert found.removesuffix("*") == sequence
        assert index.residue_counts[i] == len(sequence)
    assert len(index) == len(records)


@given(files(), st.booleans(), st.integers(0, 2000))
@settings(max_examples=40)
def test_files_are_read_alike_plain_and_packed(tmp_path_factory, case, packed, cut):
    records, text = case
    path = tmp_path_factory.mktemp("files") / "sequences.faa"
    path.write_bytes(gzip.compress(text[:cut]) + gzip.compress(text[cut:]) if packed else text)
    dataset = SequenceDataset(path, chunk_sequences=3)
    names = list(dataset.sequence_ids(np.arange(len(dataset))))
    assert names == [name.decode("utf-8", errors="replace") for name, _ in records]
    lengths = np.concatenate([np.diff(chunk.offsets) for chunk in dataset])
    assert lengths.tolist() == [len(sequence) + 2 for _, sequence in records]


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda junk: b">a\nMK\n" + junk))
def test_junk_is_indexed_within_its_bounds_or_refused_with_a_line_that_exists(junk):
    try:
        index = _core.index_fasta(junk)
    except _core.FastaFormatError as error:
        message, line = error.args
        assert message
        assert 1 <= line <= max(1, junk.count(b"\n") + 1)
        return
    starts = [index.header_starts, index.id_ends, index.sequence_starts, index.sequence_ends]
    assert all(np.all(later >= earlier) for earlier, later in itertools.pairwise(starts))
    assert np.all(index.sequence_ends[:-1] < index.header_starts[1:])
    assert index.sequence_ends[-1] == len(junk)
    assert index.residue_counts.min() >= 1


@given(st.binary(min_size=2, max_size=200))
@settings(max_examples=40)
def test_junk_behind_the_gzip_magic_is_an_error_of_ours(tmp_path_factory, junk):
    path = tmp_path_factory.mktemp("junk") / "junk"
    path.write_bytes(b"\x1f\x8b\x08" + junk)
    with pytest.raises(WorkloadError, match=re.escape(str(path))):
        FastaFile.open(path)


@given(files(), st.lists(st.integers(0, 3000), max_size=6))
def test_a_text_in_pieces_has_the_index_of_the_whole(case, cuts):
    _, text = case
    indexer = _core.FastaIndexer()
    for start, end in itertools.pairwise([0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]):
        indexer.feed(text[start:end])
    found, whole = indexer.finish(), _core.index_fasta(text)
    for name in ("header_starts", "id_ends", "sequence_starts", "sequence_ends", "residue_counts"):
        assert np.array_equal(getattr(found, name), getattr(whole, name)), name
