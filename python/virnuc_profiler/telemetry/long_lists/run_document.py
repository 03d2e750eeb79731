# SPDX-License-Identifier: MIT
"""The JSON values of a file, with the columns of a saved run as arrays."""

from __future__ import annotations

import json
import os
import re
from typing import Any, BinaryIO, Final

from virnuc_profiler.telemetry.batch_table import BATCH_FIELDS, STAGE_FIELDS
from virnuc_profiler.telemetry.files import MAX_BYTES, read_file
from virnuc_profiler.telemetry.json_text import parse_json
from virnuc_profiler.telemetry.long_lists.number_lists import split_number_lists

RUN_KIND: Final = "virnuc_profiler run"
"""The ``kind`` of a saved run."""

MAX_RUN_BYTES: Final = 2 * 1024 * 1024 * 1024
"""Default size limit of saved runs; room for some 3 million batches. Reading takes less memory than the file has."""

_TABLES: Final = {"batches": BATCH_FIELDS, "stages": STAGE_FIELDS}
_BEGINS_AS_RUN: Final = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"kind"[ \t\r\n]*:[ \t\r\n]*"%s"' % RUN_KIND.encode())
_MAX_BEGINNING: Final = 256


def read_document(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> Any:
    """Read a JSON file of unknown origin, with the columns of a saved run as arrays where that is possible.

    Each known column of ``batches`` and ``stages`` is an array of integers with ``NOT_MEASURED`` for null, or a list if
    the file was not written by this package or is damaged. All other values are those of ``read_json``.

    Args:
        path: File to read.
        max_bytes: Size limit; a larger file is refused instead of filling the memory. By default ``MAX_RUN_BYTES`` for
            a saved run and ``MAX_BYTES`` for any other file.

    Raises:
        TelemetryFormatError: The file is missing, cannot be read, is too large, or is not valid JSON.
    """
    run = read_file(path, _begins_as_run, max_bytes=None)
    limit = max_bytes if max_bytes is not None else MAX_RUN_BYTES if run else MAX_BYTES
    return read_file(path, _parse_run if run else _parse, max_bytes=limit)


def read_kind(path: str | os.PathLike[str]) -> Any:
    """Return the ``kind`` that a JSON file names; None without one. Only the beginning of a saved run is read.

    Args:
        path: File to read.

    Raises:
        TelemetryFormatError: The file is missing, cannot be read, is too large, or is not valid JSON.
    """
    if read_file(path, _begins_as_run, max_bytes=None):
        return RUN_KIND
    document = read_file(path, _parse, max_bytes=MAX_BYTES)
    return document.get("kind") if isinstance(document, dict) else None


def _begins_as_run(file: BinaryIO) -> bool:
    return _BEGINS_AS_RUN.match(file.read(_MAX_BEGINNING)) is not None


def _parse(file: BinaryIO) -> Any:
    return parse_json(file.read())


def _parse_run(file: BinaryIO) -> Any:
    """Parse a saved run. Whatever is unusual is left to the parser of all of JSON, which says what is wrong."""
    try:
        text, lists = split_number_lists(file, _TABLES)
        document = parse_json(text)
        for (table, name), values in lists.items():
            document[table][name] = values
    except ValueError as error:
        if file.seek(0, os.SEEK_END) > MAX_BYTES:  # too large to parse, and places in the text without lists mislead
            raise ValueError(error.msg if isinstance(error, json.JSONDecodeError) else error) from None
    else:
        return document
    file.seek(0)
    return _parse(file)
