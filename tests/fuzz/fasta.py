# SPDX-License-Identifier: MIT
"""FASTA files, plain and gzip'd: what is accepted is encoded in full, and reads the same in another layout.

The first byte of an input says how it comes into the file: as it is, packed, in two members, cut, or with a flaw.
"""

import gzip
import random
import tempfile
from pathlib import Path

import numpy as np

from tests.fuzz.engine import Target, fuzz, instrumented, mutate_bytes, require_sentence

with instrumented():
    from virnuc_profiler.errors import WorkloadError
    from virnuc_profiler.inference.sequences.dataset import SequenceDataset
    from virnuc_profiler.inference.sequences.fasta import FastaFile

_LONGEST = 100
_WORDS = (b">", b"\n>", b"\r\n", b"\n", b" ", b"\t", b"*", b"\xef\xbb\xbf", b"\0", b"\x1b[2J", b"\xff", b"MKV", b">a\n")


def check(data: bytes) -> None:
    """Index, read and encode one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sequences.faa"
        path.write_bytes(_packed(data))
        try:
            fasta = FastaFile.open(path)
        except WorkloadError as error:
            require_sentence(error)
            return
        records = _records(fasta)
        dataset = SequenceDataset(path, max_sequence_length=_LONGEST)
        encoded = [int(n) for chunk in dataset for n in np.diff(chunk.offsets)]
        assert encoded == [min(len(residues), _LONGEST) + 2 for _, residues in records]
        path.write_bytes(b"".join(b">%b\n%b*\n" % record for record in records))
        assert _records(FastaFile.open(path)) == records


def mutate(data: bytes, source: random.Random) -> bytes:
    """Puts one of the words of the format somewhere.

    Often into a seed: the compiled index reports no coverage, so that longer texts would soon be given up for
    shorter ones that reach the same of the Python around it.
    """
    if source.random() < 0.4:
        data = source.choice(_SEEDS)
        return mutate(data + source.choice(_SEEDS)[1:] * source.randint(0, 9), source)
    if source.random() < 0.3:
        return mutate_bytes(data, source)
    place = source.randint(0, len(data))
    return data[:place] + source.choice(_WORDS) + data[place + source.choice([0, 0, 1]) :]


def _packed(data: bytes) -> bytes:
    how, text = (data[0] % 6, data[1:]) if data else (0, data)
    if how == 0:
        return text
    half = len(text) // 2
    packed = gzip.compress(text[:half], mtime=0) + gzip.compress(text[half:], mtime=0)
    if how == 1:
        return packed
    if how == 2:
        return packed + b"\0" * 64
    if how == 3:
        return packed[: len(packed) * (len(text) % 7 + 1) // 8]
    if how == 4:
        place = len(text) * 31 % len(packed)
        return packed[:place] + bytes([packed[place] ^ 1 << len(text) % 8]) + packed[place + 1 :]
    return b"\x1f\x8b" + text


def _records(fasta: FastaFile) -> list[tuple[bytes, bytes]]:
    """Return identifiers and residues, read from the text by the index alone."""
    index = fasta.index
    last = np.array([index.sequence_ends[-1]])
    text = fasta.read_ranges(np.zeros(1, dtype=np.int64), last)[0].tobytes()
    bounds = zip(index.header_starts, index.id_ends, index.sequence_starts, index.sequence_ends, strict=True)
    found = []
    for position, (header, id_end, start, end) in enumerate(bounds):
        residues = b"".join(text[start:end].split()).removesuffix(b"*")
        assert len(residues) == fasta.residue_counts[position]
        name = bytes(text[header:id_end])
        assert fasta.sequence_ids(np.array([position]))[0] == name.decode("utf-8", errors="replace")
        found.append((name, residues))
    return found


TARGET = Target("fasta", check, mutate, factor=256)
_SEEDS = [path.read_bytes() for path in TARGET.seeds()]

if __name__ == "__main__":
    fuzz(TARGET)
