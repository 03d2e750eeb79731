# SPDX-License-Identifier: MIT
"""The record of a finished shard: one line of a manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from virnuc_profiler.telemetry.typed_records import read_record


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A file that holds a part of a shard's results.

    Attributes:
        name: Path of the file in the folder of the job, such as ``vectors/shard_00012.parquet``.
        bytes: Size in bytes.
        crc32: CRC-32 of its bytes, in eight hexadecimal digits.
    """

    name: str
    bytes: int
    crc32: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecord:
    """What a manifest says of a finished shard.

    Attributes:
        shard: Number of the shard.
        start: Position of its first sequence.
        stop: Position after its last sequence.
        tokens: Tokens of its sequences.
        files: Its files, which were complete and synced when the line was written.
        non_finite: Number of its vectors that contain NaN or infinity.
        rank: Name of the rank that wrote it.
        finished_at: Time, ISO 8601.
    """

    shard: int
    start: int
    stop: int
    tokens: int
    files: tuple[ShardFile, ...]
    non_finite: int
    rank: str
    finished_at: str

    def to_json(self) -> dict[str, Any]:
        """Return the record as the manifest holds it."""
        return {**asdict(self), "files": [asdict(file) for file in self.files]}

    @classmethod
    def from_json(cls, values: Any) -> ShardRecord:
        """Read a record.

        Raises:
            TelemetryFormatError: A key is missing or of another type.
        """
        record = read_record(_Line, values, "the line")
        files = tuple(read_record(ShardFile, file, "files") for file in record.files)
        known = {name: getattr(record, name) for name in _Line.__slots__}
        return cls(**{**known, "files": files})


@dataclass(frozen=True, slots=True)
class _Line:
    """The form of a line, whose files are read one by one."""

    shard: int
    start: int
    stop: int
    tokens: int
    files: list  # type: ignore[type-arg]
    non_finite: int
    rank: str
    finished_at: str
