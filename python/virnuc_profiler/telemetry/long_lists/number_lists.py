# SPDX-License-Identifier: MIT
"""Long lists of whole numbers in a JSON text, read into arrays without a Python object for each number.

A run of a million batches has 54 million numbers: 2 GB and 8 s as Python lists, 0.4 GB and 3 s as arrays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, Final

import numpy as np

from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column
from virnuc_profiler.telemetry.typed_records import LARGEST

_BLOCK_BYTES: Final = 1 << 20
_MAX_STRING_BYTES: Final = 1 << 24
"""Longest string that is looked for; what is longer would fill the memory before its end is found."""
_BLOCK_NUMBERS: Final = 1 << 15
_LINE_NUMBERS: Final = 256
_TABLE_DEPTH: Final = 2
"""Number of open brackets inside a table that is a member of the outermost object."""

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*("?)|[][{}]', re.DOTALL)
"""A bracket, or a string whose group is empty if its end is missing."""

_SPACE: Final = b" \t\r\n"
_NUMBERS: Final = b"0123456789-,"
_NULL: Final = b"%d " % NOT_MEASURED
"""Text in place of null. It ends in a space, so that a digit that follows null is not part of the number."""

_COMMA, _MINUS, _ZERO = b",-0"


class UnusualTextError(ValueError):
    """Only a parser of all of JSON can tell what the text means, or what is wrong with it."""


def split_number_lists(
    file: BinaryIO, tables: Mapping[str, Sequence[str]]
) -> tuple[bytes, dict[tuple[str, str], Column]]:
    """Read a JSON object whose members hold tables of number lists, in pieces of a megabyte.

    Args:
        file: File to read, from its current position to its end. It begins with the object.
        tables: Names of the lists of whole numbers and null that are wanted, by the name of their table.

    Returns:
        The text with an empty list in place of each list that was found; and these lists by the names of table and
        list, with ``NOT_MEASURED`` for null.

    Raises:
        UnusualTextError: The text is not JSON, or a wanted list has an entry that is not null or a whole number of at
            most 62 bits.
    """
    wanted = {table.encode(): {name.encode(): (table, name) for name in names} for table, names in tables.items()}
    text = _Text(file)
    lists: dict[tuple[str, str], Column] = {}
    depth, table, name = 0, b"", b""
    for token in text.tokens():
        if token.startswith(b'"'):
            name = token[1:-1]
        elif token in b"}]":
            depth -= 1
        else:
            depth += 1
            if depth == _TABLE_DEPTH:
                table = name if token == b"{" else b""
            elif depth == _TABLE_DEPTH + 1 and token == b"[" and (key := wanted.get(table, {}).get(name)):
                lists[key] = text.numbers()  # a name that is there twice is found by the parser of the rest
    return b"".join(text.kept), lists


def whole_numbers(text: bytes) -> Column:
    """Return the numbers of a comma-separated list, as JSON writes them, with ``NOT_MEASURED`` for null.

    Args:
        text: The list without its brackets, of at least one number.

    Raises:
        UnusualTextError: An entry is not null or a whole number of at most 62 bits.
    """
    nulls = text.count(b"null")
    spaced = text.replace(b"null", _NULL) if nulls else text
    packed = b",%s," % spaced.translate(None, _SPACE)  # each number is between two commas
    if packed.translate(None, _NUMBERS):
        raise UnusualTextError("a list has an entry that is not a whole number")
    code = np.frombuffer(packed, np.uint8)
    digit = code >= _ZERO
    signs = np.flatnonzero(~(digit[:-1] | digit[1:]))  # where neither is a digit, a minus follows a comma
    count = packed.count(b",") - 1
    if (
        np.any(code[signs] != _COMMA)
        or np.any(code[signs + 1] != _MINUS)
        or len(signs) != packed.count(b"-")
        or np.any((code[1:-1] == _ZERO) & digit[2:] & ~digit[:-2])  # 01 is not JSON
        or _runs(np.frombuffer(spaced, np.uint8) >= _MINUS) != count  # 1 2 is not 12, nor - 1 a number
    ):
        raise UnusualTextError("a list is not one of numbers in the form of JSON")
    values = np.fromstring(packed[1:-1], np.int64, sep=",")
    if len(values) != count or np.count_nonzero(np.abs(values) > LARGEST) + _minima(values) != nulls:
        raise UnusualTextError("a list has a number of more than 62 bits")
    return values


def _runs(mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    return int(mask[0]) + int(np.count_nonzero(mask[1:] > mask[:-1]))


def _minima(values: Column) -> int:
    """Count the smallest integers, whose absolute value is no integer of 64 bits."""
    return int(np.count_nonzero(values == NOT_MEASURED))


def number_list_text(values: Column) -> Iterator[str]:
    """Yield a list of numbers as JSON, in lines of some hundred numbers; the inverse of :func:`whole_numbers`.

    Args:
        values: Numbers, with ``NOT_MEASURED`` for null.
    """
    before = "[\n"
    for start in range(0, len(values), _BLOCK_NUMBERS):
        block = values[start : start + _BLOCK_NUMBERS]
        numbers: list[int | None] = block.tolist()
        if _minima(block):
            numbers = [None if value == NOT_MEASURED else value for value in numbers]
        lines = (json.dumps(numbers[row : row + _LINE_NUMBERS]) for row in range(0, len(numbers), _LINE_NUMBERS))
        yield before + ",\n".join(line[1:-1] for line in lines)
        before = ",\n"
    yield "\n]" if len(values) else "[]"


class _Text:
    """A text that is read piece by piece.

    Attributes:
        kept: The text so far, without the numbers that :meth:`numbers` returned.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._buffer = b""
        self._place = 0
        self.kept: list[bytes] = []

    def tokens(self) -> Iterator[bytes]:
        """Yield strings and brackets to the end of the text."""
        while True:
            found = _TOKEN.search(self._buffer, self._place)
            if found is not None and found[1] != b"":
                self._keep(found.end())
                yield found[0]
            else:  # no further token begins in the buffer, or a string does not end there
                if found is not None and len(self._buffer) - found.start() > _MAX_STRING_BYTES:
                    raise UnusualTextError(f"a string has more than the limit of {_MAX_STRING_BYTES:,} bytes")
                self._keep(len(self._buffer) if found is None else found.start())
                if not self._read_more():
                    break
        if self._place < len(self._buffer):
            raise UnusualTextError("a string has no end")

    def numbers(self) -> Column:
        """Return the numbers up to the end of the list that was entered last."""
        pieces: list[Column] = []
        while (end := self._buffer.find(b"]", self._place)) < 0:
            comma = self._buffer.rfind(b",", self._place)
            if comma >= 0:
                pieces.append(whole_numbers(self._buffer[self._place : comma]))
                self._place = comma + 1
            if len(self._buffer) - self._place >= _BLOCK_BYTES or not self._read_more():
                raise UnusualTextError("a list has no end")
        last = self._buffer[self._place : end]
        self._place = end
        if pieces or last.strip(_SPACE):
            pieces.append(whole_numbers(last))
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)

    def _keep(self, end: int) -> None:
        self.kept.append(self._buffer[self._place : end])
        self._place = end

    def _read_more(self) -> bool:
        unread = self._buffer[self._place :]
        more = self._file.read(max(_BLOCK_BYTES, len(unread)))  # doubled for a string that is longer than a block
        self._buffer, self._place = unread + more, 0
        return bool(more)
