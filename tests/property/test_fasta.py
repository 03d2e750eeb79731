# SPDX-License-Identifier: MIT
import gzip
import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fasta_reference import WHITE_SPACE, read_fasta
from virnuc_profiler import _core
from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.sequences.dataset import SequenceDataset
from virnuc_profiler.inference.sequences.fasta import FastaFile

LETTERS = "ACDEFGHIKLMNPQRSTVWYXBUZO.-J"

ids = st.binary(min_size=1, max_size=12).filter(lambda name: not set(name) & set(WHITE_SPACE))
descriptions = st.binary(max_size=12).filter(lambda text: not set(text) & set(b"\r\n"))
sequences = st.text(LETTERS, min_size=1, max_size=200)
blank_lines = st.sampled_from([b"", b"", b"\n", b" \t\n\n", b"; MKV\n", b"#\n", b"//\n"])


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
    line_end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
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
    encoded = encode(text, index)
    for i, (name, sequence) in enumerate(records):
        assert text[index.header_starts[i] : index.id_ends[i]] == name
        assert index.residue_counts[i] == len(sequence)
        assert letters_of(encoded, i) == sequence
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


words = st.sampled_from(
    [b">", b"\n>", b">a x\n", b"\r", b"\n", b"\r\n", b";", b"\n;", b"#", b"//", b"/", b" ", b"*", b"MKV", b"ACGT" * 6,
     b"-.", b"10", b"X", b"\xff", b"\0", b"\xef\xbb\xbf", b"M" * 200]
)  # fmt: skip
junk = st.lists(words | st.binary(max_size=8), max_size=40).map(b"".join)


@given(junk | junk.map(lambda text: b">a\nMK\n" + text), st.integers(1, 300))
@settings(max_examples=300)
def test_any_text_is_read_as_line_by_line_and_in_pieces(text, size):
    expected = read_fasta(text)
    indexer = _core.FastaIndexer()
    for start in range(0, len(text), size):
        indexer.feed(text[start : start + size])
    if not expected.valid and not expected.faulty:
        with pytest.raises(_core.FastaFormatError) as caught:
            indexer.finish()
        assert 1 <= caught.value.args[1] <= max(1, len(text.splitlines()))
        return
    index = indexer.finish()
    faults = [index.fault(i) for i in range(index.fault_count)]
    assert [(line, name) for line, name, _ in faults] == [(line, shortened(name)) for line, name, _ in expected.faulty]
    assert all(reason.startswith(start) for (*_, reason), (*_, start) in zip(faults, expected.faulty, strict=True))
    assert index.residue_counts.tolist() == [len(record.residues) for record in expected.valid]
    encoded = encode(text, index)
    for i, record in enumerate(expected.valid):
        assert text[index.header_starts[i] : index.id_ends[i]] == record.name
        assert letters_of(encoded, i) == record.residues.decode().upper()
    found = {kind: count for kind, _, count, _, _ in index.findings}
    assert found.get("comments", 0) == expected.comments
    assert found.get("carriage_returns", 0) == expected.lone_crs
    for kind, letters in {"gaps": b"-.", "digits": b"0123456789", "stops": b"*"}.items():
        assert found.get(kind, 0) == sum(
            record.residues.count(bytes([one])) for record in expected.valid for one in letters
        )


def shortened(name):
    return name[:60].decode("utf-8", errors="replace") + ("..." if len(name) > 60 else "")


def encode(text, index):
    table = np.arange(256, dtype=np.uint8)
    starts, ends = index.sequence_starts, index.sequence_ends
    return _core.encode_residues(
        text, starts, ends, table, bos=0, eos=0, unknown=0, max_residues=10_000, skip_comments=True
    )


def letters_of(encoded, i):
    return encoded.tokens[encoded.offsets[i] + 1 : encoded.offsets[i + 1] - 1].tobytes().decode()


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
