# SPDX-License-Identifier: MIT
"""The sequences that every configuration of a sweep is measured on."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.errors import OutputError, WorkloadError
from virnuc_profiler.inference.sequences.findings import Finding
from virnuc_profiler.sweep.plan.workload_part import WorkloadPart
from virnuc_profiler.telemetry.files import write_text_atomically
from virnuc_profiler.telemetry.number_text import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from virnuc_profiler.inference.sequences.fasta import FastaFile
    from virnuc_profiler.sweep.plan.sample import Sample

ALPHABET: Final = "ACDEFGHIKLMNPQRSTVWY"
MAX_SEQUENCE_LENGTH: Final = 1022
"""Residues; ESM-2 was trained on 1,024 tokens, BOS and EOS included. Longer sequences are cut."""

FIRST: Final = "first"
"""Sampling of a workload that is the first sequences of its file, or all of them, in the order of the file."""

SKIPPED_FILE: Final = "skipped_records.tsv"
"""File in the folder of the results that lists the records that were left out."""

LENGTH_SHARES: Final = ((0.40, 50, 99), (0.35, 101, 299), (0.20, 301, 499), (0.05, 501, 1000))
"""Share of the sequences, shortest and longest in residues, both inclusive.

The bounds that two ranges of the specification have in common (100, 300, 500) are left out, so that the shares hold
however one counts them.
"""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is run: sequences of a FASTA file.

    Attributes:
        path: The file.
        source: Where the file comes from, in words.
        num_sequences: Number of its sequences that are run.
        sequences_in_file: Number of sequences in the file.
        tokens: Tokens of the sequences that are run, after truncation, BOS and EOS included.
        longest_tokens: Tokens of the longest of these sequences, after truncation, BOS and EOS included.
        fingerprint: SHA-256 of the whole file.
        skip_invalid: Whether records that are not valid FASTA were to be left out.
        skipped_records: Number of records of the file that were left out; None if none were to be.
        findings: What is odd in the other records of the file.
        sampling: ``first`` for the first sequences of the file in its order, or ``stratified`` for a random sample.
        seed: Random seed of the sample; None for the first sequences.
        sample_fingerprint: SHA-256 of the positions of the sample; None for the first sequences.
        tokens_in_file: Tokens of all sequences of the file, counted as `tokens`; None in files of older versions.
        part: WorkloadPart of the sequences that is run, where several ranks run one part each; None for all of them.
    """

    path: Path
    source: str
    num_sequences: int
    sequences_in_file: int
    tokens: int
    longest_tokens: int
    fingerprint: str
    skip_invalid: bool = False
    skipped_records: int | None = None
    findings: tuple[Finding, ...] = ()
    sampling: str = FIRST
    seed: int | None = None
    sample_fingerprint: str | None = None
    tokens_in_file: int | None = None
    part: WorkloadPart | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the workload as result files hold it, which are never of a part."""
        values = {name: value for name, value in asdict(self).items() if name != "part"}
        return {**values, "path": str(self.path), "findings": [each.to_json() for each in self.findings]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Workload:
        """Read what :meth:`to_json` returned; keys that this version does not know are left out."""
        known = {each.name: values[each.name] for each in fields(cls) if each.name in values or not _is_optional(each)}
        findings = tuple(map(Finding.from_json, values.get("findings", ())))
        return cls(**{**known, "path": Path(values["path"]), "findings": findings})


def _is_optional(each: Field[Any]) -> bool:
    """Return whether files of older versions lack a field."""
    return each.default is not MISSING


def read_workload(
    path: str | os.PathLike[str], source: str, num_sequences: int | None = None, seed: int | None = None
) -> Workload:
    """Describe sequences of a FASTA file.

    Args:
        path: The file, which may be compressed.
        source: Where the file comes from, in words.
        num_sequences: Number of sequences to run; None for all.
        seed: Random seed of a sample stratified by length; None for the first sequences.

    Raises:
        WorkloadError: The file is missing, unreadable, empty or not FASTA.
    """
    from virnuc_profiler.inference.sequences.fasta import FastaFile  # needs the compiled core, which --help does not

    return workload_of(FastaFile.open(path), source, num_sequences, seed)


def workload_of(fasta: FastaFile, source: str, num_sequences: int | None = None, seed: int | None = None) -> Workload:
    """Describe sequences of an open FASTA file.

    Args:
        fasta: The file.
        source: Where the file comes from, in words.
        num_sequences: Number of sequences to run; None for all.
        seed: Random seed of a sample stratified by length; None for the first sequences.

    Raises:
        WorkloadError: The file is empty, or was changed since it was opened.
    """
    count = len(fasta) if num_sequences is None else min(num_sequences, len(fasta))
    if count == 0:
        raise WorkloadError(f"{fasta.path} holds no sequences")
    tokens = token_counts(fasta)
    sample = None if seed is None else _sample(tokens, count, seed)
    chosen = tokens[:count] if sample is None else tokens[sample.positions]
    return Workload(
        path=fasta.path,
        source=source,
        num_sequences=count,
        sequences_in_file=len(fasta),
        tokens=int(chosen.sum()),
        longest_tokens=int(chosen.max()),
        fingerprint=fasta.fingerprint,
        skip_invalid=fasta.skip_invalid,
        skipped_records=fasta.skipped if fasta.skip_invalid else None,
        findings=fasta.findings,
        tokens_in_file=int(tokens.sum()),
        **({} if sample is None else sample.facts()),
    )


def part_of(workload: Workload, fasta: FastaFile, index: int, count: int) -> Workload:
    """Describe one of several parts of a workload, each of which another rank runs.

    Args:
        workload: The whole workload.
        fasta: Its file.
        index: Number of the part, from 0.
        count: Number of parts.

    Raises:
        WorkloadError: There are fewer sequences than parts.
    """
    if workload.num_sequences < count:
        raise WorkloadError(
            f"{workload.path} has {counted(workload.num_sequences, 'sequence')} to run for {count} ranks: "
            "start fewer ranks"
        )
    divided = replace(workload, part=WorkloadPart(index, count, workload.num_sequences))
    sample = sample_of(divided, fasta)
    assert sample is not None
    tokens = token_counts(fasta, sample.positions)
    return replace(divided, num_sequences=len(tokens), tokens=int(tokens.sum()), longest_tokens=int(tokens.max()))


def token_counts(fasta: FastaFile, positions: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Return the tokens of each sequence of a file, after truncation, BOS and EOS included.

    Args:
        fasta: The file.
        positions: (n,) positions of the sequences in the file; None for all of them.
    """
    residues = fasta.residue_counts if positions is None else fasta.residue_counts[positions]
    counts: NDArray[np.int64] = residues.clip(max=MAX_SEQUENCE_LENGTH) + 2
    return counts


def sample_of(workload: Workload, fasta: FastaFile) -> Sample | None:
    """Draw the sample of a workload again; None if it runs the first sequences of its file.

    Args:
        workload: The workload.
        fasta: Its file.

    Raises:
        WorkloadError: The sample is another one, as after a change of the drawing.
    """
    if workload.part is not None:
        from virnuc_profiler.sweep.plan.sample import first_sequences  # NumPy, which --help does not need

        count = workload.part.whole
        sample = sample_of(replace(workload, num_sequences=count, part=None), fasta)
        return (first_sequences(count) if sample is None else sample).divided(workload.part)
    if workload.seed is None:
        return None
    sample = _sample(token_counts(fasta), workload.num_sequences, workload.seed)
    if sample.fingerprint != workload.sample_fingerprint:
        raise WorkloadError(
            f"the sample of {counted(workload.num_sequences, 'sequence')} of {workload.path} with seed {workload.seed} "
            f"was {_short(str(workload.sample_fingerprint))} and is now {_short(sample.fingerprint)}: start a new sweep"
        )
    return sample


def _sample(tokens: NDArray[np.int64], count: int, seed: int) -> Sample:
    from virnuc_profiler.sweep.plan.sample import stratified_sample  # NumPy, which --help does not need

    return stratified_sample(tokens, count, seed)


def write_skipped(fasta: FastaFile, folder: Path) -> None:
    """List the records that were left out of a file: line, identifier and reason, separated by tabs.

    Args:
        fasta: The file.
        folder: Folder of the results; the list has the name :data:`SKIPPED_FILE`. There is none if nothing was skipped.

    Raises:
        OutputError: The list cannot be written.
    """
    path = folder / SKIPPED_FILE
    if fasta.skipped:
        rows = (f"{record.line}\t{record.id}\t{record.reason}\n" for record in fasta.skipped_records())
        write_text_atomically(path, chain(["line\tid\treason\n"], rows))
        return
    try:
        path.unlink(missing_ok=True)  # that of an earlier run in the same folder
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {error.strerror or error}") from error


def generate_tuning_workload(output_dir: str | os.PathLike[str], num_sequences: int = 2000, seed: int = 42) -> Path:
    """Write random protein sequences with the length distribution of viral proteins.

    By count, rounded to whole sequences, 40 % have 50 to 100 residues, 35 % 100 to 300, 20 % 300 to 500 and 5 % 500 to
    1,000, in random order. The same seed gives the same bytes on every machine and Python: the only method of the
    standard library's generator that is used is ``random()``, whose stream is documented never to change.

    Args:
        output_dir: Folder of the file, which is made if it is missing.
        num_sequences: Number of sequences, at least 1.
        seed: Random seed.

    Returns:
        Path of ``tuning_workload_{num_sequences}seq_seed{seed}.fasta`` in that folder.

    Raises:
        ValueError: `num_sequences` is below 1.
        OutputError: The file cannot be written.
    """
    if num_sequences < 1:
        raise ValueError(f"num_sequences is {num_sequences}; it must be at least 1")
    uniform = random.Random(seed).random  # noqa: S311 - test data, not secrets
    lengths = [
        shortest + int(uniform() * (longest - shortest + 1))
        for count, (_, shortest, longest) in zip(_counts(num_sequences), LENGTH_SHARES, strict=True)
        for _ in range(count)
    ]
    for last in range(len(lengths) - 1, 0, -1):  # Fisher-Yates; random.shuffle's stream may change
        other = int(uniform() * (last + 1))
        lengths[last], lengths[other] = lengths[other], lengths[last]
    letters = len(ALPHABET)

    def records() -> Iterator[str]:
        for number, length in enumerate(lengths, 1):
            residues = "".join([ALPHABET[int(uniform() * letters)] for _ in range(length)])
            yield f">tuning_{number:06d} length={length}\n{residues}\n"

    path = Path(output_dir) / f"tuning_workload_{num_sequences}seq_seed{seed}.fasta"
    return write_text_atomically(path, "".join(records()))


def _counts(num_sequences: int) -> list[int]:
    """Return the number of sequences of each range, with the rest given to the largest remainders."""
    exact = [share * num_sequences for share, _, _ in LENGTH_SHARES]
    counts = [int(value + 1e-9) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: counts[place] - exact[place])
    for place in by_remainder[: num_sequences - sum(counts)]:
        counts[place] += 1
    return counts


Signature = tuple[int, ...]


class WorkloadGuard:
    """Checks that files of sequences have not changed.

    A check costs one ``stat``; the file is read only if that shows a change, and at its first check, because its
    state when the workload was described is not known.
    """

    def __init__(self) -> None:
        self._checked: dict[Path, tuple[str, Signature]] = {}

    def __call__(self, workload: Workload) -> None:
        """Check the file of a workload.

        Raises:
            WorkloadError: The file is gone, or holds other bytes than it did.
        """
        now = _signature(workload.path)  # before the reading, so that a change during it is noticed next time
        if self._checked.get(workload.path) == (workload.fingerprint, now):
            return
        require_fingerprint(workload.path, workload.fingerprint)
        self._checked[workload.path] = workload.fingerprint, now


def require_fingerprint(path: Path, fingerprint: str) -> None:
    """Refuse a file that does not have this fingerprint.

    Raises:
        WorkloadError: The file has another one, or is gone.
    """
    from virnuc_profiler.inference.sequences.unchanged_file import fingerprint_of  # NumPy, which --help does not need

    found = fingerprint_of(path)
    if found != fingerprint:
        raise WorkloadError(
            f"{path} was changed, truncated or replaced since the sweep began: it was {_short(fingerprint)} and is "
            f"now {_short(found)}"
        )


def _signature(path: Path) -> Signature:
    try:
        status = path.stat()
    except OSError as error:
        raise WorkloadError(f"cannot read {path}: {error.strerror or error}") from None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _short(fingerprint: str) -> str:
    return fingerprint[: len("sha256:") + 12]
