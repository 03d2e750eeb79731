# SPDX-License-Identifier: MIT
"""Columns of integers as compact text, which a browser unpacks in milliseconds.

Each column becomes small numbers first: differences of neighbors where the order suggests it, and a sign in the lowest
bit. The lowest bytes of all its numbers follow each other, then the next ones, because high bytes repeat. All
columns together are deflated and written in base64.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np

from virnuc_profiler.telemetry.stage_columns import Column

_LEVEL: Final = 6
"""Level of zlib; 9 takes three times as long and saves less than 1 %."""

_MAX_MAGNITUDE: Final = 1 << 52
"""Larger numbers are cut: those of a browser are exact up to 53 bits. 52 bits of ns are 52 days."""


class PackedColumns(NamedTuple):
    """Columns as text.

    Attributes:
        columns: Name, length, number of bytes of each value, and whether the values are differences, by column.
        text: Their bytes, deflated, in base64.
    """

    columns: list[list[Any]]
    text: str


class NamedColumn(NamedTuple):
    """A column of integers.

    Attributes:
        name: Name by which the page's script finds it.
        values: Integers of shape (n,).
        differences: Whether neighbors are similar, so that their differences are written.
    """

    name: str
    values: Column
    differences: bool = False


def pack_columns(columns: Iterable[NamedColumn]) -> PackedColumns:
    """Pack columns one after the other, so that only one of them is expanded at a time.

    Args:
        columns: The columns.
    """
    described: list[list[Any]] = []
    packer = zlib.compressobj(_LEVEL)
    pieces = []
    for column in columns:
        values = np.clip(column.values.astype(np.int64, copy=False), -_MAX_MAGNITUDE, _MAX_MAGNITUDE)
        if column.differences:
            values = np.diff(values, prepend=np.int64(0))
        unsigned = ((values << 1) ^ (values >> 63)).astype("<u8")
        largest = int(unsigned.max()) if len(unsigned) else 0
        width = (largest.bit_length() + 7) // 8
        planes = unsigned.view(np.uint8).reshape(-1, 8)[:, :width].T
        pieces.append(packer.compress(np.ascontiguousarray(planes).tobytes()))
        described.append([column.name, len(values), width, int(column.differences)])
    pieces.append(packer.flush())
    return PackedColumns(described, base64.b64encode(b"".join(pieces)).decode("ascii"))
