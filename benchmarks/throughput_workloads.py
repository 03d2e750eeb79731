# SPDX-License-Identifier: MIT
"""Provide the sequences for throughput benchmarks, as files of any length and as encoded sequences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler import SequenceDataset, generate_tuning_workload
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.plan.workload import ALPHABET

SHORTEST, LONGEST = 30, 70
"""Residues of short sequences; with BOS and EOS they have 52 tokens on average."""

SHORT_PER_SWEEP: Final = 4
"""Short sequences per sequence of the sweep's workload, which are four times as long."""


def generate_short_workload(folder: Path, num_sequences: int, seed: int = 42) -> Path:
    """Write random proteins of 30 to 70 residues, with uniform lengths. The same seed gives the same file."""
    random = np.random.default_rng(seed)
    lengths = random.integers(SHORTEST, LONGEST + 1, num_sequences)
    letters = np.frombuffer(ALPHABET.encode(), dtype=np.uint8)
    residues = letters[random.integers(0, len(letters), int(lengths.sum()))].tobytes()
    ends = np.cumsum(lengths)
    places = zip((ends - lengths).tolist(), ends.tolist(), strict=True)
    path = folder / f"short_{num_sequences}seq_seed{seed}.fasta"
    path.write_bytes(b"".join(b">short_%07d\n%s\n" % (i, residues[a:b]) for i, (a, b) in enumerate(places)))
    return path


GENERATORS: Final[dict[str, Callable[[Path, int], Path]]] = {
    "sweep": generate_tuning_workload,
    "short": generate_short_workload,
}
NAMES: Final = tuple(GENERATORS)


class Workload:
    """Sequences of one kind. Alternatives that need few use `encoded`; end-to-end runs read `fasta`.

    Args:
        name: ``sweep`` or ``short``.
        folder: Folder for the files, which are written once per benchmark.
        num_sequences: Size of `encoded`, counted in sequences as long as the sweep's.
    """

    def __init__(self, name: str, folder: Path, num_sequences: int) -> None:
        self.name = name
        self._folder = folder
        count = num_sequences * (SHORT_PER_SWEEP if name == "short" else 1)
        self.encoded_fasta = self._file = FastaFile.open(GENERATORS[name](folder, count))
        self.encoded = _encode(self.encoded_fasta)
        self.tokens_per_sequence = sum(map(len, self.encoded)) / count

    def fasta(self, num_sequences: int) -> FastaFile:
        """Return a file with at least this many sequences in random order; rewrite it only if it has fewer."""
        if num_sequences > len(self._file):
            self._file = FastaFile.open(GENERATORS[self.name](self._folder, num_sequences))
        return self._file


def _encode(fasta: FastaFile) -> list[NDArray[np.uint8]]:
    """Return the tokens of each sequence, including BOS and EOS."""
    return [tokens for chunk in SequenceDataset(fasta) for tokens in np.split(chunk.tokens, chunk.offsets[1:-1])]
