# SPDX-License-Identifier: MIT
"""The sequences that a target is to run, as records or as a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TargetWorkload:
    """Sequences in a FASTA file that holds these and no others, in their order.

    It can be pickled, so that processes that a target starts can read it too.

    Attributes:
        path: The file, uncompressed, with two lines for each sequence: ``>`` and its identifier, and its residues.
        num_sequences: Number of its sequences.
        num_tokens: Tokens of its sequences, BOS and EOS included, after truncation to `max_residues`.
        max_residues: Residues to which longer sequences are cut.
        passes: How often the file holds the workload of the user, one copy after the other, so that a run is long
            enough to be measured.
        num_truncated: Sequences of one pass that were longer than `max_residues`; None if that is unknown.
    """

    path: Path
    num_sequences: int
    num_tokens: int
    max_residues: int
    passes: int = 1
    num_truncated: int | None = None

    def records(self) -> Iterator[tuple[str, str]]:
        """Yield identifier and residues of each sequence, cut to `max_residues`."""
        with self.path.open(encoding="ascii", errors="replace") as lines:
            for header, residues in zip(lines, lines, strict=True):
                yield header[1:].rstrip("\n"), residues[: self.max_residues].rstrip("\n")
