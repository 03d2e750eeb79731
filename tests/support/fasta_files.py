# SPDX-License-Identifier: MIT
"""FASTA files for tests."""

import gzip
import random
from pathlib import Path

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


def random_records(count, *, shortest=1, longest=300, seed=0):
    """Return `count` pairs of identifier and sequence, which depend on the seed only."""
    source = random.Random(seed)
    return [(f"seq_{i}", "".join(source.choices(RESIDUES, k=source.randint(shortest, longest)))) for i in range(count)]


def fasta_text(records, line_length=60):
    """Return records in the usual layout, as bytes."""
    lines = []
    for name, sequence in records:
        lines.append(f">{name} description")
        lines += [sequence[i : i + line_length] for i in range(0, len(sequence), line_length)]
    return ("\n".join(lines) + "\n").encode()


def write_fasta(path: Path, records, *, packed=False):
    """Write records to `path`, gzip'd on request; return the path."""
    text = fasta_text(records)
    path.write_bytes(gzip.compress(text) if packed else text)
    return path
