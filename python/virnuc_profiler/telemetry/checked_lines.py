# SPDX-License-Identifier: MIT
"""Lines of JSON with a checksum, the format of a sweep's journal.

A line is ``{"crc32":"1c291ca3","entry":{...}}``: valid JSON that ``jq`` can read, with a CRC-32 of the entry's bytes.
CRC-32 detects every error burst of up to 32 bits, and all bytes outside of the entry are fixed, so every change of a
single byte is detected. The checksum does not protect against deliberate changes.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from virnuc_profiler.telemetry.json_text import parse_json

_LINE: Final = re.compile(rb'\{"crc32":"([0-9a-f]{8})","entry":(\{.*\})\}')


@dataclass(frozen=True, slots=True)
class CheckedLines:
    """Content of a file of checked lines.

    Attributes:
        entries: Entries of the intact lines in order, each with its line number, counted from 1.
        damaged: Numbers of the lines whose checksum or form is wrong.
        torn_bytes: Number of bytes after the last newline: a line that is being written, or was cut off.
    """

    entries: tuple[tuple[int, dict[str, Any]], ...]
    damaged: tuple[int, ...]
    torn_bytes: int


def encode_line(entry: Mapping[str, Any]) -> bytes:
    """Encode an entry as a line, newline included.

    Args:
        entry: Plain JSON values.

    Raises:
        ValueError: The entry contains NaN or infinity, which JSON does not support.
    """
    body = json.dumps(entry, separators=(",", ":"), allow_nan=False).encode("ascii")
    return b'{"crc32":"%08x","entry":%s}\n' % (zlib.crc32(body), body)


def decode_line(line: bytes) -> dict[str, Any] | None:
    """Return the entry of a line; None if the line is damaged.

    Args:
        line: Line without its newline.
    """
    match = _LINE.fullmatch(line)
    if match is None or int(match[1], 16) != zlib.crc32(match[2]):
        return None
    try:
        entry: dict[str, Any] = parse_json(match[2])
    except ValueError:  # the checksum fits, but this package does not write such lines
        return None
    return entry


def decode_lines(data: bytes) -> CheckedLines:
    """Decode the complete lines of a file. No content raises an error.

    Args:
        data: Content of the file.
    """
    *lines, torn = data.split(b"\n")
    decoded = [(number, decode_line(line)) for number, line in enumerate(lines, 1)]
    return CheckedLines(
        entries=tuple((number, entry) for number, entry in decoded if entry is not None),
        damaged=tuple(number for number, entry in decoded if entry is None),
        torn_bytes=len(torn),
    )
