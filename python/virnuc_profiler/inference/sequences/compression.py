# SPDX-License-Identifier: MIT
"""Unpack gzip, bzip2, xz and zstd, block by block, so that memory stays bounded whatever a file unpacks to."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final, Protocol

from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.sequences.unchanged_file import BLOCK_BYTES, unreadable

_MAX_XZ_MEMORY: Final = 1 << 30
"""Bytes that a dictionary may take; ``xz -9`` needs 65 MB."""


class _Decompressor(Protocol):
    """A decompressor of one member of a file, as the standard library's for bzip2 and xz."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _GzipDecompressor:
    """The standard library's decompressor of zlib, with the methods of those of bzip2 and xz."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        text = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self.needs_input = not self._inner.unconsumed_tail and len(text) < max_length
        return text


@dataclass(frozen=True, slots=True)
class Compression:
    """A way to compress files.

    Attributes:
        name: Name for messages.
        magic: First bytes of a file.
        decompressor: Makes a decompressor for one member of a file.
    """

    name: str
    magic: bytes
    decompressor: Callable[[], _Decompressor]


def _zstd_decompressor() -> _Decompressor:
    decompressor: _Decompressor = _zstd_module().ZstdDecompressor()
    return decompressor


def _zstd_module() -> Any:
    """Return Python's module for zstd, which is a package of its own before Python 3.14.

    Raises:
        ImportError: There is none.
    """
    try:
        return import_module("compression.zstd")
    except ImportError:
        return import_module("backports.zstd")


COMPRESSIONS: Final = (
    Compression("gzip", b"\x1f\x8b", _GzipDecompressor),
    Compression("bzip2", b"BZh", bz2.BZ2Decompressor),
    Compression("xz", b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(memlimit=_MAX_XZ_MEMORY)),
    Compression("lzma", b"\x5d\x00\x00", lambda: lzma.LZMADecompressor(memlimit=_MAX_XZ_MEMORY)),
    Compression("zstd", b"\x28\xb5\x2f\xfd", _zstd_decompressor),
)


def compression_of(head: bytes) -> Compression | None:
    """Return the compression of a file by its first bytes; None if it is none of those that can be unpacked."""
    return next((each for each in COMPRESSIONS if head.startswith(each.magic)), None)


def unpacked_blocks(path: Path, packed: IO[bytes], compression: Compression) -> Iterator[bytes]:
    """Yield the content of all members of a compressed file, block by block.

    Args:
        path: The file, for messages.
        packed: The open file.
        compression: Its compression.

    Raises:
        WorkloadError: The data are damaged or end early, the file cannot be read, or zstd cannot be unpacked here.
    """
    try:
        errors: tuple[type[Exception], ...] = (zlib.error, lzma.LZMAError, OSError, *_zstd_errors(compression))
    except ImportError:
        raise WorkloadError(
            f"cannot read {path}: it is compressed with zstd, which Python unpacks from 3.14 on; install the package "
            "backports.zstd, or unpack the file first"
        ) from None
    text_bytes = 0
    data = _read(path, packed)
    while data:
        member = compression.decompressor()
        while not member.eof:
            if member.needs_input and not data:
                data = _read(path, packed)
                if not data:
                    raise WorkloadError(
                        f"cannot read {path}: its {compression.name} data end early, after about {text_bytes:,} bytes "
                        "of text; check that the file was copied completely"
                    )
            try:
                block = member.decompress(data, BLOCK_BYTES)
            except errors as error:
                raise WorkloadError(f"cannot read {path}: its {compression.name} data are damaged ({error})") from None
            data = b""
            text_bytes += len(block)
            yield block
        data = _next_member(path, packed, member.unused_data)


def _next_member(path: Path, packed: IO[bytes], data: bytes) -> bytes:
    """Return the bytes from the next member on, without the zeros that may pad members; empty at the end."""
    while not (rest := data.lstrip(b"\0")):
        data = _read(path, packed)
        if not data:
            break
    return rest


def _read(path: Path, packed: IO[bytes]) -> bytes:
    try:
        return packed.read(BLOCK_BYTES)
    except OSError as error:
        raise unreadable(path, error) from None


def _zstd_errors(compression: Compression) -> tuple[type[Exception], ...]:
    return (_zstd_module().ZstdError,) if compression.decompressor is _zstd_decompressor else ()
