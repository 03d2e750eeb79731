# SPDX-License-Identifier: MIT
"""Recognize files that are not FASTA by their first bytes, so that an error says what they are."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.telemetry.values import printable

HEAD_BYTES: Final = 4096
"""Bytes that are enough to recognize a file."""

_UNPACK: Final = "unpack it and name the FASTA file in it"
_CONVERT: Final = "convert it to FASTA first"
_READS: Final = "it holds sequencing reads or what was made of them, and this reads proteins in FASTA"
_TEXT: Final = "convert it to UTF-8 first, as with iconv -t UTF-8"
_AGAIN: Final = "the download failed; fetch the file again"


@dataclass(frozen=True, slots=True)
class ForeignFormat:
    """A format that is not read.

    Attributes:
        name: Name with its article.
        pattern: Matches the first bytes of a file.
        advice: What to do about it.
    """

    name: str
    pattern: re.Pattern[bytes]
    advice: str


def _format(name: str, pattern: bytes, advice: str = _CONVERT) -> ForeignFormat:
    return ForeignFormat(name, re.compile(pattern, re.DOTALL), advice)


_LINE_END: Final = rb"[ \t]*\r?(?:\n|\r)"
_START: Final = rb"(?:\xef\xbb\xbf)?\s*"
"""What may stand before a text: a byte order mark and white space."""

_FORMATS: Final = (
    _format("UTF-32 text", rb"\xff\xfe\0\0|\0\0\xfe\xff|>\0\0\0|\0\0\0>", _TEXT),
    _format("UTF-16 text", rb"\xff\xfe|\xfe\xff|>\0(?:[\t-~]\0){2}|\0>(?:\0[\t-~]){2}", _TEXT),
    _format("a zip archive", rb"PK(?:\x03\x04|\x05\x06)", _UNPACK),
    _format("a tar archive", rb".{257}ustar", _UNPACK),
    _format("a 7-Zip archive", rb"7z\xbc\xaf\x27\x1c", _UNPACK),
    _format("a RAR archive", rb"Rar!\x1a\x07", _UNPACK),
    _format("an LZ4 file", rb"\x04\x22\x4d\x18", _UNPACK),
    _format("an lzip file", rb"LZIP", _UNPACK),
    _format("a file of the Unix program compress", rb"\x1f[\x9d\xa0]", _UNPACK),
    _format("BAM", rb"BAM\x01", _READS),
    _format("CRAM", rb"CRAM[\x01-\x09]", _READS),
    _format("BCF", rb"BCF[\x02\x04]", _READS),
    _format("SRA", rb"NCBI\.sra", _READS),
    _format("an HDF5 file", rb"\x89HDF\r\n", _CONVERT),
    _format("a Parquet file", rb"PAR1", _CONVERT),
    _format("an SQLite database", rb"SQLite format 3\0", _CONVERT),
    _format("a PDF", rb"%PDF-", _CONVERT),
    _format("an HTML page", _START + rb"(?i:<!doctype html|<html|<head|<body)", _AGAIN),
    _format("an XML file", _START + rb"<\?xml"),
    _format("a JSON file", _START + rb"[{\[]"),
    _format("a pointer of Git LFS", rb"version https://git-lfs", "fetch the file itself with git lfs pull"),
    _format("SAM", rb"@(?:HD|SQ|RG|PG|CO)\t", _READS),
    _format("FASTQ", _START + rb"@[^\r\n]*\r?[\r\n][^\r\n]*\r?[\r\n]\+", _READS),
    _format("VCF", rb"##fileformat=VCF", _READS),
    _format("GFF", rb"##gff-version"),
    _format("GenBank or GenPept", _START + rb"LOCUS {3}"),
    _format("EMBL or UniProt text", _START + rb"ID {3}"),
    _format("a Stockholm alignment", _START + rb"# STOCKHOLM"),
    _format("a Clustal alignment", _START + rb"(?:CLUSTAL|MUSCLE \(|PROBCONS)"),
    _format("a NEXUS file", _START + rb"(?i:#NEXUS)\b"),
    _format("an MSF alignment", _START + rb"(?:!!AA_MULTIPLE|!!NA_MULTIPLE|PileUp\b)"),
    _format("a PHYLIP alignment", _START + rb"\d+[ \t]+\d+" + _LINE_END),
    _format("PIR (NBRF)", _START + rb">(?:P1|F1|DL|DC|RL|RC|N1|N3|XX);"),
    _format("a PDB file", rb"HEADER {4}"),
    _format("an mmCIF file", _START + rb"data_\w+" + _LINE_END),
    _format("binary data", rb"(?![\s;#>])[^\r\n]{0,64}?[\0-\x08]", "name the FASTA file itself"),
)
_MESSAGE: Final = re.compile(
    _START
    + rb"(?i:(?:\d{3} )?(?:<error>|error\b|failed\b|cannot\b|supplied id\b|bad (?:request|gateway)|too many requests|"
    rb"internal server|service unavailable|resource temporarily|no items? found|not found|\+?error%))"
)


def refuse_foreign(path: Path, head: bytes, packed: str | None = None) -> None:
    """Refuse a file of a known format that is not FASTA.

    Args:
        path: The file, for the message.
        head: First bytes of the file, or of what was unpacked from it.
        packed: Name of its compression; None if it is not compressed.

    Raises:
        WorkloadError: It is of another format, which the message names.
    """
    for each in _FORMATS:
        if each.pattern.match(head):
            inside = "" if packed is None else f" inside {packed}"
            raise WorkloadError(f"cannot read {path}: it is {each.name}{inside}, not FASTA; {each.advice}")


def message_in(head: bytes) -> str | None:
    """Return the first line of a text that is the error message of a server; None if it is none."""
    if not _MESSAGE.match(head):
        return None
    return printable(head.strip().splitlines()[0].decode("utf-8", errors="replace"), 100)
