# SPDX-License-Identifier: MIT
"""FASTA files for tests."""

import gzip
import random
from pathlib import Path

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


def random_records(count, *, shortest=1, longest=300, seed=0):
    """`count` pairs of identifier and sequence; the same for the same seed."""
    source = random.Random(seed)
    return [(f"seq_{i}", "".join(source.choices(RESIDUES, k=source.randint(shortest, longest)))) for i in range(count)]


def fasta_text(records, width=60):
    """Records in the common layout, as bytes."""
    lines = []
    for name, sequence in records:
        lines.append(f">{name} description")
        lines += [sequence[i : i + width] for i in range(0, len(sequence), width)]
    return ("\n".join(lines) + "\n").encode()


def write_fasta(path: Path, records, *, packed=False):
    """Writes records to `path`, gzip'd if asked; returns the path."""
    text = fasta_text(records)
    path.write_bytes(gzip.compress(text) if packed else text)
    return path
