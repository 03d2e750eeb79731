# SPDX-License-Identifier: MIT
"""A second reading of FASTA, line by line and without haste, to compare the compiled index with."""

import re
from dataclasses import dataclass, field

WHITE_SPACE = b" \t\n\r\v\f"


@dataclass
class Record:
    """A record of a text.

    Attributes:
        name: Identifier.
        line: Line of its header.
        residues: Residues, without a final stop.
        fault: Line and start of the reason, if the record is not valid.
    """

    name: bytes
    line: int
    residues: bytes = b""
    fault: tuple[int, str] | None = None


@dataclass
class Reading:
    """A text as it was read.

    Attributes:
        valid: Valid records.
        faulty: Line and identifier of each record that is not valid, and the start of the reason.
        comments: Lines that were skipped as comments.
        lone_crs: Lines that end with a CR alone.
    """

    valid: list[Record] = field(default_factory=list)
    faulty: list[tuple[int, bytes, str]] = field(default_factory=list)
    comments: int = 0
    lone_crs: int = 0


def read_fasta(text: bytes) -> Reading:
    """Read a text by the rules that docs/embed-sequences.md states."""
    reading = Reading()
    text = text.removeprefix(b"\xef\xbb\xbf")
    record = Record(b"", 0)
    lines = re.findall(rb"([^\r\n]*)(\r\n|\r|\n|\Z)", text)
    for number, (line, end) in enumerate(lines, 1):
        reading.lone_crs += end == b"\r"
        if line.startswith(b">"):
            _end(reading, record)
            name = re.match(rb"[^ \t\v\f]*", line[1:])[0]
            record = Record(name, number, fault=None if name else (number, "a header without"))
        elif line.startswith((b";", b"#", b"//")):
            reading.comments += record.line == 0 or record.fault is None
        elif record.fault is None:
            _add(record, number, bytes(byte for byte in line if byte not in WHITE_SPACE))
    _end(reading, record)
    return reading


def _add(record: Record, number: int, residues: bytes) -> None:
    invalid = [byte for byte in residues if not 0x20 < byte < 0x7F or byte == ord(">")]
    if record.line == 0:
        record.fault = (number, "text before") if residues else None
    elif invalid:
        record.fault = (number, "'>' inside" if invalid[0] == ord(">") else f"byte 0x{invalid[0]:02X}")
    record.residues += residues


def _end(reading: Reading, record: Record) -> None:
    record.residues = record.residues.removesuffix(b"*")
    if record.line and not record.residues and record.fault is None:
        record.fault = (record.line, "the sequence has no residues")
    if record.fault is not None:
        reading.faulty.append((record.fault[0], record.name, record.fault[1]))
    elif record.line:
        reading.valid.append(record)
