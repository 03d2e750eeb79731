# SPDX-License-Identifier: MIT
"""Any reader of files of one JSON object a line, each with its checksum, such as a journal.

A target is made of the reader: ``fuzz(lines_target("journal", read_journal, (TelemetryFormatError,)))``. Changed
entries get the right checksum most of the time, since what comes behind it would never be reached otherwise.
"""

import json
import random
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz.engine import Target, require_sentence
from tests.fuzz.json_mutation import mutate_json


def lines_target(name: str, read: Callable[[Path], Any], errors: tuple[type[Exception], ...], file: str) -> Target:
    """Return the target of a reader that gets a folder with `file` in it and may raise only `errors`."""

    def check(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / file).write_bytes(data)
            try:
                first = read(Path(folder))
            except errors as error:
                require_sentence(error)
                return
            assert read(Path(folder)) == first
            assert (Path(folder) / file).read_bytes() == data  # reading changes nothing

    return Target(name, check, mutate_lines, factor=256)


def mutate_lines(data: bytes, source: random.Random) -> bytes:
    """Apply one change to a line, or to the order and number of lines."""
    lines = data.split(b"\n")
    place = source.randrange(len(lines))
    kind = source.randrange(6)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(source.randint(0, len(lines)), lines[place])
    elif kind == 2:
        lines[place] = lines[place][: source.randint(0, len(lines[place]))]
    elif kind == 3:
        lines[place] = mutate_json(lines[place], source)
    else:
        lines[place] = _changed_and_sealed(lines[place], source)
    return b"\n".join(lines)


def seal(entry: bytes) -> bytes:
    """Return the line of an entry."""
    return b'{"crc32":"%08x","entry":%s}' % (zlib.crc32(entry), entry)


def _changed_and_sealed(line: bytes, source: random.Random) -> bytes:
    try:
        entry = json.loads(line)["entry"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return line
    return seal(mutate_json(json.dumps(entry, separators=(",", ":")).encode(), source))
