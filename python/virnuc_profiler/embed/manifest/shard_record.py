# SPDX-License-Identifier: MIT
"""The record of a finished shard: one line of a manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

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

    @property
    def key(self) -> RecordKey:
        """What tells this record from all others."""
        return RecordKey(self.shard, self.rank, self.finished_at)

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


class RecordKey(NamedTuple):
    """What tells a record from all others.

    Attributes:
        shard: Number of the shard.
        rank: Name of the rank that wrote it.
        finished_at: Time of the record.
    """

    shard: int
    rank: str
    finished_at: str


@dataclass(frozen=True, slots=True)
class Retraction:
    """A line that takes back a record whose files are damaged, in any manifest and whatever the order of the lines.

    Attributes:
        key: The record that is taken back.
        why: What is wrong with its files.
    """

    key: RecordKey
    why: str

    def to_json(self) -> dict[str, Any]:
        """Return the retraction as the manifest holds it."""
        return {"retracted": self.key._asdict(), "why": self.why}

    @staticmethod
    def is_one(entry: Any) -> bool:
        """Whether a line of a manifest is a retraction."""
        return isinstance(entry, dict) and "retracted" in entry

    @classmethod
    def from_json(cls, entry: Any) -> Retraction:
        """Read a retraction.

        Raises:
            TelemetryFormatError: A key is missing or of another type.
        """
        key = read_record(_Key, entry["retracted"], "retracted")
        return cls(RecordKey(key.shard, key.rank, key.finished_at), str(entry.get("why")))


@dataclass(frozen=True, slots=True)
class _Key:
    """The form of a record's key in a line."""

    shard: int
    rank: str
    finished_at: str


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
