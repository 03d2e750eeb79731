# SPDX-License-Identifier: MIT
"""What is odd in the records of a FASTA file, such as residues that are unlikely to be a protein's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from virnuc_profiler.telemetry.number_text import counted

_MAX_ID: Final = 40
"""Characters of an identifier that a message shows."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd in the valid records of a file, or something that was read over.

    Attributes:
        kind: One of the kinds below.
        sequences: Number of sequences that it occurs in; 0 for ``comments`` and ``carriage_returns``.
        count: Number of characters or lines.
        line: Line of the first, counted from 1.
        id: Identifier of the record with the first, shortened; empty before the first header.
    """

    kind: str
    sequences: int
    count: int
    line: int
    id: str

    @property
    def is_suspicious(self) -> bool:
        """Whether the sequences may not be what they are taken for. Comments and line ends change no sequence."""
        return self.kind not in _HARMLESS

    def __str__(self) -> str:
        what = _WHAT[self.kind](self) if self.kind in _WHAT else f"{self.count:,} {self.kind.replace('_', ' ')}"
        return f"{what} (first: line {self.line}{shown_id(self.id)})"

    def to_json(self) -> dict[str, Any]:
        """Return the finding as result files hold it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Finding:
        """Read what :meth:`to_json` returned; keys that this version does not know are left out."""
        return cls(**{each.name: values[each.name] for each in fields(cls)})


def suspicious(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that say that sequences may not be what they are taken for."""
    return [finding for finding in findings if finding.is_suspicious]


def sentence(findings: Iterable[Finding]) -> str:
    """Return findings as one sentence, without the name of the file."""
    return "; ".join(map(str, findings))


def _holding(what: str) -> Any:
    def text(finding: Finding) -> str:
        return f"{counted(finding.sequences, 'sequence holds', 'sequences hold')} {counted(finding.count, what)}"

    return text


def shown_id(name: str) -> str:
    """Return an identifier in parentheses behind a space, shortened; empty if there is none."""
    from virnuc_profiler.telemetry.values import printable  # needs NumPy, which --help does not

    return f" ({printable(name, _MAX_ID)})" if name else ""


_WHAT: Final = {
    "nucleotides": lambda finding: (
        f"{counted(finding.sequences, 'sequence looks', 'sequences look')} like nucleotides, "
        "which are embedded as the amino acids of the same letters"
    ),
    "unknown": lambda finding: (
        f"{counted(finding.sequences, 'sequence is', 'sequences are')} unknown by more than "
        "half (X, J, digits or symbols)"
    ),
    "gaps": _holding("gap"),
    "digits": _holding("digit"),
    "stops": _holding("inner stop"),
    "symbols": _holding("other character"),
    "words": lambda finding: (
        counted(finding.count, "line of sequences reads", "lines of sequences read") + " like a message"
    ),
    "comments": lambda finding: f"{counted(finding.count, 'comment line')} skipped",
    "carriage_returns": lambda finding: (
        f"{counted(finding.count, 'line ends', 'lines end')} with a CR alone, which is read as a line end"
    ),
}
_HARMLESS: Final = ("comments", "carriage_returns")
