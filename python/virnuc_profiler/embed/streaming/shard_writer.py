# SPDX-License-Identifier: MIT
"""Threads that write finished shards while the device works on the next ones."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.embed.formats.residue_files import SUFFIX, write_residues
from virnuc_profiler.embed.formats.select_format import ShardFormat
from virnuc_profiler.embed.formats.shard_table import table_of
from virnuc_profiler.embed.job_folder import RESIDUES_FOLDER, VECTORS_FOLDER, shard_file
from virnuc_profiler.embed.manifest.manifest_files import Manifest
from virnuc_profiler.embed.manifest.shard_record import ShardFile, ShardRecord
from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.embed.streaming.checked_file import checked_file
from virnuc_profiler.embed.streaming.open_shard import OpenShard
from virnuc_profiler.inference.sequences.fasta import FastaFile

_log = logging.getLogger(__name__)

WRITERS: Final = 3
"""Threads that write: some encode while others wait for the disk. One encodes about 200,000 vectors of 320 numbers per
second, or 270 MB."""


class ShardWriter:
    """Writes shards in threads of its own; at most `WRITERS` shards wait or are written, so memory stays bounded.

    Args:
        folder: Folder of the job.
        manifest: Manifest of this rank.
        rank: Name of this rank.
        file_format: Format of the files.
        metadata: What the files of residues say of themselves.
        fasta: File of the sequences.
        max_residues: Residues to which longer sequences are cut.
        on_finished: Called in a writing thread after the shard's line is on the disk.
        holds: Returns whether a shard is still this process's. Another one writes those that are not.

    Attributes:
        waited_s: Seconds in which :meth:`put` waited because all writers were busy.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        rank: str,
        file_format: ShardFormat,
        metadata: Mapping[str, Any],
        fasta: FastaFile,
        max_residues: int,
        on_finished: Callable[[Shard], None],
        holds: Callable[[Shard], bool],
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self._rank = rank
        self._format = file_format
        self._metadata = metadata
        self._fasta = fasta
        self._max_residues = max_residues
        self._on_finished = on_finished
        self._holds = holds
        self.waited_s = 0.0
        self._recording = threading.Lock()
        self._shards: queue.SimpleQueue[OpenShard | None] = queue.SimpleQueue()
        self._space = threading.Semaphore(WRITERS)
        self._failure: BaseException | None = None
        self._threads = [threading.Thread(target=self._work, name=f"shard-writer-{n}") for n in range(WRITERS)]
        for thread in self._threads:
            thread.start()

    def put(self, opened: OpenShard) -> None:
        """Hand over a complete shard; waits while all writers are busy.

        Args:
            opened: The shard, whose vectors no longer change.

        Raises:
            OutputError: An earlier shard could not be written.
        """
        began = time.monotonic()
        self._space.acquire()
        self.waited_s += time.monotonic() - began
        self.require_working()
        self._shards.put(opened)

    def flush(self) -> None:
        """Wait until all shards that were handed over are written.

        Raises:
            OutputError: One of them could not be written.
        """
        for _ in range(WRITERS):
            self._space.acquire()
        self._space.release(WRITERS)
        self.require_working()

    def require_working(self) -> None:
        """Raise what has gone wrong in a writing thread.

        Raises:
            OutputError: A shard could not be written.
        """
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Write what was handed over, and end the threads, once. Never raises; see `require_working`."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._shards.put(None)
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        while (opened := self._shards.get()) is not None:
            try:
                if self._failure is None:
                    self._write(opened)
            except BaseException as error:
                self._failure = error
            finally:
                self._space.release()
            del opened

    def _write(self, opened: OpenShard) -> None:
        shard = opened.shard
        if not self._holds(shard):
            _log.warning("shard %d was taken over by another rank, because this one stood still", shard.number)
            return
        name = shard_file(VECTORS_FOLDER, shard.number, self._format.suffix)
        with checked_file(self._folder / name, self._rank) as file:
            self._format.write(table_of(shard, opened.vectors, self._fasta, self._max_residues), file)
        files = [ShardFile(name, file.bytes, f"{file.crc32:08x}")]
        if opened.residues is not None:
            name = shard_file(RESIDUES_FOLDER, shard.number, SUFFIX)
            with checked_file(self._folder / name, self._rank) as file:
                write_residues(file, shard.start, opened.residues, opened.offsets, self._metadata)
            files.append(ShardFile(name, file.bytes, f"{file.crc32:08x}"))
        record = ShardRecord(
            shard=shard.number,
            start=shard.start,
            stop=shard.stop,
            tokens=shard.tokens,
            files=tuple(files),
            non_finite=opened.non_finite,
            rank=self._rank,
            finished_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        )
        with self._recording:
            self._manifest.add(record)
        self._on_finished(shard)
