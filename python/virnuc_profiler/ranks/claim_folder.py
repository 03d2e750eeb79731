# SPDX-License-Identifier: MIT
"""Claims on pieces of work, in a folder that all ranks share.

A claim is a file that is made by ``link``, which is atomic on local and on network file systems: one of several
processes succeeds. Claims are never removed or renamed while work is left. To take over the claim ``KEY.1`` of a
process that is gone, a rank makes ``KEY.2``, and again only one rank can: a claim that was taken over cannot be taken
over once more by a rank that had looked before.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from virnuc_profiler.errors import OutputError
from virnuc_profiler.ranks.claim_owner import Owner, Watch
from virnuc_profiler.ranks.rank import Rank

LEASE_S: Final = 60.0
"""A process that shows no sign of life for so long loses its claims."""

STALL_S: Final = 1800.0
"""A process whose thread lives, but which has noted no progress for so long, hangs, and shows no more life."""

_BEATS_PER_LEASE: Final = 6
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
_GONE: Final = (errno.ENOENT, errno.ESTALE)

_log = logging.getLogger(__name__)


class ClaimFolder:
    """Claims of this process and of others on pieces of work.

    Every piece has a key. While this object is open, a thread shows that the process lives. What it held is free again
    when it is closed, when the process has ended on this host, or else when the lease has passed without a sign of
    life.

    Args:
        folder: Folder of the claims, which is made if it is missing.
        rank: Which rank this process is.
        lease_s: Seconds without a sign of life after which a process loses its claims.
        clock: Returns monotonic seconds.

    Raises:
        OutputError: The folder cannot be made or written.
    """

    def __init__(
        self, folder: Path, rank: Rank, lease_s: float = LEASE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self.owner = Owner.of_this_process(rank)
        self._watch = Watch(self.owner, lease_s, clock)
        self._generations: dict[str, int] = {}  # the highest that was seen, by key
        self._held: dict[str, int] = {}
        self._beat = 0
        self._clock = clock
        self._progress = clock()
        self._closed = threading.Event()
        self._file = folder / f"owner_{self.owner.id}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._write_owner()
            self._earlier_notes = {path.name: _content(path) for path in folder.iterdir() if _is_note(path.name)}
        except OSError as error:
            raise self._unwritable(error) from error
        self._thread = threading.Thread(
            target=self._show_life, args=(lease_s / _BEATS_PER_LEASE,), name="claims", daemon=True
        )
        self._thread.start()

    def take(self, key: str) -> bool:
        """Claim a piece of work unless another process holds it, and return whether this process holds it now.

        The process that takes over a claim must look whether the work is done before doing it: a process that has ended
        may have done it.

        Args:
            key: Key of the piece: letters, digits, underscores and hyphens.

        Raises:
            OutputError: The folder cannot be written.
        """
        if key in self._held:
            return self.holds(key)
        try:
            generation = self._highest(key)
            if generation and not self._is_free(key, generation):
                return False
            if not self._made(key, generation + 1):
                return False
        except OSError as error:
            raise self._unwritable(error) from error
        self._held[key] = self._generations[key] = generation + 1
        return True

    def holds(self, key: str) -> bool:
        """Return whether this process still holds a claim. One that has stood still may have lost it.

        Args:
            key: Key of the piece.
        """
        generation = self._held.get(key)
        if generation is None:
            return False
        if self._path(key, generation + 1).exists() or not self._path(key, generation).exists():
            del self._held[key]  # taken over, or removed together with all claims because all work is done
            return False
        return True

    def note(self, key: str) -> None:
        """Note for the other processes that something was done.

        Args:
            key: Key of what was done: letters, digits and underscores.

        Raises:
            OutputError: The folder cannot be written.
        """
        try:
            unfinished = self._folder / f"{key}.{self.owner.id}"
            unfinished.write_bytes(self.owner.encode(0))
            unfinished.replace(self._folder / key)
        except OSError as error:
            raise self._unwritable(error) from error

    def was_noted(self, key: str) -> bool:
        """Return whether a process has noted something since this object was made. No clock is asked.

        Args:
            key: Key of what was done.

        Raises:
            OutputError: The folder cannot be read.
        """
        try:
            content = _content(self._folder / key)
        except OSError as error:
            raise self._unwritable(error) from error
        return content is not None and content != self._earlier_notes.get(key)

    def note_progress(self) -> None:
        """Note that this process does not hang. Costs less than a microsecond."""
        self._progress = self._clock()

    def close(self) -> None:
        """Give up all claims. Work that was not done is free for others at once."""
        self._closed.set()
        self._thread.join()
        self._held.clear()
        with suppress(OSError):
            self._file.unlink()

    def remove(self) -> None:
        """Close, and remove the folder once all work is done. A process that still reads it finds no claims."""
        self.close()
        with suppress(OSError):
            for entry in list(self._folder.iterdir()):
                entry.unlink(missing_ok=True)
            self._folder.rmdir()

    def __enter__(self) -> ClaimFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _path(self, key: str, generation: int) -> Path:
        return self._folder / f"{key}.{generation}"

    def _highest(self, key: str) -> int:
        """Return the highest generation of a claim; 0 if there is none."""
        generation = self._generations.get(key, 0)
        if generation and not self._path(key, generation).exists():
            generation = 0  # all claims were removed
        while self._path(key, generation + 1).exists():
            generation += 1
        self._generations[key] = generation
        return generation

    def _is_free(self, key: str, generation: int) -> bool:
        """Return whether the process that made a claim is gone."""
        content = _content(self._path(key, generation))
        owner = None if content is None else Owner.decode(content)
        if owner is None:  # its writer was stopped in between, or still writes: judge the claim by itself
            return self._watch.is_gone(f"{key}.{generation}", content or b"")
        return self._watch.is_gone(owner.id, _content(self._folder / f"owner_{owner.id}"))

    def _made(self, key: str, generation: int) -> bool:
        """Make a claim, and return whether this process was the one that made it."""
        path = self._path(key, generation)
        try:
            os.link(self._file, path)
        except FileExistsError:  # a network file system may have done it, and lost its answer
            content = _content(path)
            owner = None if content is None else Owner.decode(content)
            return owner is not None and owner.id == self.owner.id
        except OSError as error:
            if error.errno in _NO_LINKS:
                return self._made_without_links(path)
            if error.errno in _GONE and not self._file.exists() and not self._closed.is_set():
                self._write_owner()  # someone has emptied the folder
                return self._made(key, generation)
            raise
        return True

    def _made_without_links(self, path: Path) -> bool:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            return False
        try:
            os.write(descriptor, self.owner.encode(0))
        finally:
            os.close(descriptor)
        return True

    def _write_owner(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._beat += 1
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.pwrite(descriptor, self.owner.encode(self._beat), 0)  # the same length each time: no torn state
        finally:
            os.close(descriptor)  # network file systems show others what was written when the file is closed

    def _show_life(self, every_s: float) -> None:
        while not self._closed.wait(every_s):
            if self._clock() - self._progress > STALL_S:
                continue
            try:
                self._write_owner()
            except OSError as error:  # a full disk or a server that restarts; the next time may succeed
                _log.debug("cannot write %s: %s", self._file, error)

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot write {self._folder}, where ranks claim their work: {error.strerror or error}; free space there, "
            "or choose another --output-dir"
        )


def _is_note(name: str) -> bool:
    return "." not in name and not name.startswith("owner_")


def _content(path: Path) -> bytes | None:
    """Return what a file holds; None if it is gone. Opening it makes a network file system ask for its newest state."""
    try:
        return path.read_bytes()
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
