# SPDX-License-Identifier: MIT
"""Check the files of finished shards before a job is continued: what is damaged is done again."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from virnuc_profiler.embed.manifest.shard_record import ShardFile, ShardRecord
from virnuc_profiler.embed.shard_plan import Shard

_BLOCK_BYTES: Final = 4 << 20
_THREADS: Final = 4


def damaged_shards(
    folder: Path, shards: Sequence[Shard], records: Mapping[int, ShardRecord], *, checksums: bool = True
) -> dict[int, str]:
    """Return the shards that a manifest calls finished and that are not, with what is wrong with each.

    Args:
        folder: Folder of the job.
        shards: All shards of the job.
        records: Records of the finished ones by number.
        checksums: Whether the files are read and compared with their checksums, instead of only their sizes.
    """
    finished = [(shard, records[shard.number]) for shard in shards if shard.number in records]

    def problem(pair: tuple[Shard, ShardRecord]) -> str | None:
        shard, record = pair
        if (record.start, record.stop) != (shard.start, shard.stop):
            return f"its line is about the sequences {record.start:,} to {record.stop:,}"
        problems = (_problem(folder, file, checksums) for file in record.files)
        return next((found for found in problems if found is not None), None)

    with ThreadPoolExecutor(_THREADS) as pool:
        problems = pool.map(problem, finished)
        return {shard.number: found for (shard, _), found in zip(finished, problems, strict=True) if found is not None}


def _problem(folder: Path, file: ShardFile, checksums: bool) -> str | None:
    path = folder / file.name
    try:
        size = path.stat().st_size
        if size != file.bytes:
            return f"{file.name} has {size:,} bytes instead of {file.bytes:,}"
        if checksums and (found := _crc32(path)) != file.crc32:
            return f"{file.name} has the checksum {found} instead of {file.crc32}"
    except FileNotFoundError:
        return f"{file.name} is missing"
    except OSError as error:
        return f"{file.name} cannot be read: {error.strerror or error}"
    return None


def _crc32(path: Path) -> str:
    found = 0
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while block := os.read(descriptor, _BLOCK_BYTES):
            found = zlib.crc32(block, found)
    finally:
        os.close(descriptor)
    return f"{found:08x}"
