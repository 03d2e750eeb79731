# SPDX-License-Identifier: MIT
"""Lines of JSON that tell whether they are still what was written: the form of a sweep's journal.

A line is ``{"crc32":"1c291ca3","entry":{...}}``: valid JSON, so that ``jq`` reads it, and a CRC-32 of the entry's
bytes. CRC-32 finds every error of up to 32 neighboring bits, and all bytes outside of the entry are fixed, so no
single changed byte goes unseen. It is no protection against somebody who means to deceive.
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
    """What a file of such lines holds.

    Attributes:
        entries: of the sound lines, in order, each with its line number (from 1).
        damaged: numbers of the lines that are not what was written.
        torn_bytes: how many bytes follow the last newline: a line that is being written, or never was to its end.
    """

    entries: tuple[tuple[int, dict[str, Any]], ...]
    damaged: tuple[int, ...]
    torn_bytes: int


def encode_line(entry: Mapping[str, Any]) -> bytes:
    """The line of `entry`, newline included.

    Raises:
        ValueError: the entry holds NaN or infinity, which JSON does not have.
    """
    body = json.dumps(entry, separators=(",", ":"), allow_nan=False).encode("ascii")
    return b'{"crc32":"%08x","entry":%s}\n' % (zlib.crc32(body), body)


def decode_line(line: bytes) -> dict[str, Any] | None:
    """The entry of a line without its newline; None if it is damaged."""
    match = _LINE.fullmatch(line)
    if match is None or int(match[1], 16) != zlib.crc32(match[2]):
        return None
    try:
        entry: dict[str, Any] = parse_json(match[2])
    except ValueError:  # sound, but not by our writer
        return None
    return entry


def decode_lines(data: bytes) -> CheckedLines:
    """Reads whole lines; nothing raises, whatever the bytes are."""
    *lines, torn = data.split(b"\n")
    decoded = [(number, decode_line(line)) for number, line in enumerate(lines, 1)]
    return CheckedLines(
        entries=tuple((number, entry) for number, entry in decoded if entry is not None),
        damaged=tuple(number for number, entry in decoded if entry is None),
        torn_bytes=len(torn),
    )
