# SPDX-License-Identifier: MIT
"""Which shards are finished, followed while other ranks go on: only what was added to their manifests is read."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from virnuc_profiler.embed.manifest.manifest_files import MANIFEST_FOLDER
from virnuc_profiler.errors import OutputError
from virnuc_profiler.telemetry.checked_lines import decode_lines


class FinishedShards:
    """Numbers of the shards that some rank has recorded as finished, without those whose records were all retracted.

    Threads may share it.

    Args:
        folder: Folder of the job.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / MANIFEST_FOLDER
        self._read_bytes: dict[str, int] = {}
        self._records: set[tuple[Any, ...]] = set()
        self._retracted: set[tuple[Any, ...]] = set()
        self._numbers: frozenset[int] = frozenset()
        self._lock = threading.Lock()

    def __contains__(self, number: object) -> bool:
        return number in self._numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def refresh(self) -> None:
        """Read the lines that were added since the last time.

        Raises:
            OutputError: A manifest cannot be read.
        """
        with self._lock:
            try:
                added = [self._add(path) for path in self._folder.glob("rank_*.jsonl")]
            except OSError as error:
                raise OutputError(f"cannot read the manifests in {self._folder}: {error.strerror or error}") from error
            if any(added):
                self._numbers = frozenset(shard for shard, *_ in self._records - self._retracted)

    def _add(self, path: Path) -> bool:
        """Note the whole lines that were added to a manifest, and return whether there are any."""
        start = self._read_bytes.get(path.name, 0)
        with path.open("rb") as file:
            file.seek(start)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read_bytes[path.name] = start + len(whole)
        for _, entry in decode_lines(whole).entries:
            retracted = entry.get("retracted")
            key, keys = (entry, self._records) if retracted is None else (retracted, self._retracted)
            keys.add(tuple(key.get(name) for name in ("shard", "rank", "finished_at")))
        return bool(whole)
