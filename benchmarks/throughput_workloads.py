# SPDX-License-Identifier: MIT
"""The sequences that throughput is measured on, as files of any length and as encoded sequences."""

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
"""Residues of short sequences: with BOS and EOS 52 tokens on average."""

SHORT_PER_SWEEP: Final = 4
"""Short sequences for each of the sweep's, which are four times as long."""


def generate_short_workload(folder: Path, num_sequences: int, seed: int = 42) -> Path:
    """Writes random proteins of 30 to 70 residues, each length as likely; the same seed gives the same file."""
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
    """Sequences of one kind. Alternatives that need few take `encoded`; end-to-end runs read `fasta`.

    Args:
        name: ``sweep`` or ``short``.
        folder: where files are written, once for the whole benchmark.
        num_sequences: of `encoded`, counted in sequences as long as the sweep's.
    """

    def __init__(self, name: str, folder: Path, num_sequences: int) -> None:
        self.name = name
        self._folder = folder
        count = num_sequences * (SHORT_PER_SWEEP if name == "short" else 1)
        self.encoded_fasta = self._file = FastaFile.open(GENERATORS[name](folder, count))
        self.encoded = _encode(self.encoded_fasta)
        self.tokens_per_sequence = sum(map(len, self.encoded)) / count

    def fasta(self, num_sequences: int) -> FastaFile:
        """A file of at least so many sequences in random order; written only if the one at hand has fewer."""
        if num_sequences > len(self._file):
            self._file = FastaFile.open(GENERATORS[self.name](self._folder, num_sequences))
        return self._file


def _encode(fasta: FastaFile) -> list[NDArray[np.uint8]]:
    """The tokens of each sequence, BOS and EOS included."""
    return [tokens for chunk in SequenceDataset(fasta) for tokens in np.split(chunk.tokens, chunk.offsets[1:-1])]
