# SPDX-License-Identifier: MIT
"""Find the numbers of a vector column in a memory-mapped Parquet file, so that single rows are read without decoding.

Parquet libraries decode whole row groups, which takes a second for a gigabyte. The column here is written without
compression, nulls and dictionary, so the last bytes of each of its data pages are the page's numbers, row after row
(Apache Parquet format: https://parquet.apache.org/docs/file-format/data-pages/). The headers of the pages, which are in
Thrift's compact protocol, say where the pages are.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.embed.formats.shard_view import PagePlace

_DATA_PAGE: Final = 0
_PLAIN: Final = 0
_STRUCT: Final = 12
_MAX_VARINT: Final = 10


def page_places(data: NDArray[np.uint8], chunk: Any, hidden_size: int, itemsize: int) -> list[PagePlace]:
    """Return where a column chunk's vectors are, page after page.

    Args:
        data: (bytes,) the memory-mapped file.
        chunk: Metadata of the column chunk, from ``pyarrow.parquet``.
        hidden_size: Length of a vector.
        itemsize: Bytes of one of its numbers.

    Raises:
        ValueError: The column is compressed, or its pages are not as this package writes them.
    """
    if chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page:
        raise ValueError("the vector column is compressed or has a dictionary")
    offset, left = chunk.data_page_offset, chunk.total_compressed_size
    pages = []
    while left > 0:
        header, header_bytes = _read_struct(data[offset : offset + 1024].tobytes(), 0)
        page_bytes, details = header.get(3), header.get(5)
        if header.get(1) != _DATA_PAGE or not isinstance(details, dict) or details.get(2) != _PLAIN or not page_bytes:
            raise ValueError("a page of the vector column is not a plain data page")
        rows, rest = divmod(details[1], hidden_size)
        if rest:
            raise ValueError("a page of the vector column ends within a vector")
        end = offset + header_bytes + page_bytes
        pages.append(PagePlace(rows, end - rows * hidden_size * itemsize))
        offset, left = end, left - header_bytes - page_bytes
    return pages


def _read_struct(data: bytes, place: int) -> tuple[dict[int, Any], int]:
    """Read a struct of Thrift's compact protocol; return its integers and structs by field number, and its end."""
    values: dict[int, Any] = {}
    number = 0
    while (head := data[place]) != 0:
        place += 1
        kind, step = head & 15, head >> 4
        if step:
            number += step
        else:
            raw, place = _read_varint(data, place)
            number = (raw >> 1) ^ -(raw & 1)
        if kind in (1, 2):  # booleans are part of the head
            values[number] = kind == 1
        elif kind == 3:
            place += 1
        elif kind in (4, 5, 6):
            raw, place = _read_varint(data, place)
            values[number] = (raw >> 1) ^ -(raw & 1)
        elif kind == 8:
            size, place = _read_varint(data, place)
            place += size
        elif kind == _STRUCT:
            values[number], place = _read_struct(data, place)
        else:
            raise ValueError(f"a page header has a field of the type {kind}")
    return values, place + 1


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for number in range(_MAX_VARINT):
        byte = data[place + number]
        value |= (byte & 0x7F) << (7 * number)
        if byte < 0x80:
            return value, place + number + 1
    raise ValueError("a page header has a number that does not end")
