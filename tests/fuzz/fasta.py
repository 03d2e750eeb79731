# SPDX-License-Identifier: MIT
"""FASTA files, plain and compressed: what is accepted is encoded in full, and reads the same in another layout.

The first byte of an input says how it comes into the file: as it is, packed, in two members, cut, or with a flaw.
"""

import bz2
import gzip
import lzma
import random
import re
import tempfile
from pathlib import Path

import numpy as np

from tests.fuzz.engine import Target, fuzz, instrumented, mutate_bytes, require_printable, require_sentence

with instrumented():
    from virnuc_profiler.errors import WorkloadError
    from virnuc_profiler.inference.sequences.dataset import SequenceDataset
    from virnuc_profiler.inference.sequences.fasta import FastaFile

_LONGEST = 100
_WORDS = (
    b">", b"\n>", b"\r\n", b"\n", b"\r", b" ", b"\t", b"*", b"\xef\xbb\xbf", b"\0", b"\x1b[2J", b"\xff", b"MKV",
    b">a\n", b";", b"\n#", b"\n//\n", b"-", b"10", b"ACGT" * 6,
)  # fmt: skip


def _xz(text: bytes) -> bytes:
    return lzma.compress(text, preset=0)  # others take more memory than the target may


_PACKERS = (lambda text: gzip.compress(text, mtime=0), bz2.compress, _xz)


def check(data: bytes) -> None:
    """Index, read and encode one file, as it is and without its faulty records."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sequences.faa"
        content = _packed(data)
        for skip_invalid in (False, True):
            path.write_bytes(content)
            try:
                fasta = FastaFile.open(path, skip_invalid=skip_invalid)
            except WorkloadError as error:
                require_sentence(error)
                continue
            _check_file(path, fasta)


def _check_file(path: Path, fasta: FastaFile) -> None:
    skipped = list(fasta.skipped_records())
    assert len(skipped) == fasta.skipped
    for said in (*skipped, *fasta.findings):
        require_printable(str(said))
    records = _records(fasta)
    encoded = [int(n) for chunk in SequenceDataset(fasta, max_sequence_length=_LONGEST) for n in np.diff(chunk.offsets)]
    assert encoded == [min(len(residues), _LONGEST) + 2 for _, residues in records]
    # The comment keeps the text from looking like another format, and the blank keeps residues from being comments.
    path.write_bytes(b";\n" + b"".join(b">%b\n %b*\n" % record for record in records))
    again = FastaFile.open(path)
    assert _records(again) == records
    assert {finding.kind: finding.count for finding in again.findings}.pop("comments") == 1


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
    how, packer, text = (data[0] % 6, _PACKERS[data[0] // 6 % 3], data[1:]) if data else (0, _PACKERS[0], data)
    if how == 0:
        return text
    half = len(text) // 2
    packed = packer(text[:half]) + packer(text[half:])
    if how == 1:
        return packed
    if how == 2:
        return packed + b"\0" * 64
    if how == 3:
        return packed[: len(packed) * (len(text) % 7 + 1) // 8]
    if how == 4:
        place = len(text) * 31 % len(packed)
        return packed[:place] + bytes([packed[place] ^ 1 << len(text) % 8]) + packed[place + 1 :]
    return packed[: 3 + 3 * (packer is _xz)] + text


def _records(fasta: FastaFile) -> list[tuple[bytes, bytes]]:
    """Return identifiers and residues, read from the text by the index alone."""
    index = fasta.index
    last = np.array([index.sequence_ends[-1]])
    text = fasta.read_ranges(np.zeros(1, dtype=np.int64), last)[0].tobytes()
    bounds = zip(index.header_starts, index.id_ends, index.sequence_starts, index.sequence_ends, strict=True)
    found = []
    for position, (header, id_end, start, end) in enumerate(bounds):
        lines = [line for line in re.split(rb"[\r\n]", text[start:end]) if not line.startswith((b";", b"#", b"//"))]
        residues = b"".join(b" ".join(lines).split()).removesuffix(b"*")
        assert len(residues) == fasta.residue_counts[position]
        name = bytes(text[header:id_end])
        assert fasta.sequence_ids(np.array([position]))[0] == name.decode("utf-8", errors="replace")
        found.append((name, residues))
    return found


TARGET = Target("fasta", check, mutate, factor=256)
_SEEDS = [path.read_bytes() for path in TARGET.seeds()]

if __name__ == "__main__":
    fuzz(TARGET)
