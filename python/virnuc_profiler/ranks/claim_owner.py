# SPDX-License-Identifier: MIT
"""A process that claims work, as other processes see it: who it is, and whether it still lives."""

from __future__ import annotations

import json
import os
import platform
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

from virnuc_profiler.ranks.rank import Rank

_PROC: Final = Path("/proc")
_BEAT_DIGITS: Final = 20


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that holds claims.

    Attributes:
        id: Name of the process that no other one has, also not the next one of the same rank.
        rank: Number of its rank.
        job: Id of its job at the launcher; empty if there is none.
        attempt: How often its launcher had started the rank again.
        host: Name of its host.
        kernel: Identity of the process table that its `pid` is a number of: boot of the host, and namespace.
        pid: Its process id.
        started: When the process began, in the kernel's ticks, so that a later process of the same id is another one.
    """

    id: str
    rank: int
    job: str
    attempt: int
    host: str
    kernel: str
    pid: int
    started: str

    @classmethod
    def of_this_process(cls, rank: Rank) -> Owner:
        """Return this process as the owner of claims.

        Args:
            rank: Which rank the process is.
        """
        pid = os.getpid()
        return cls(
            id=f"{rank.name}_{secrets.token_hex(8)}",
            rank=rank.index,
            job=rank.job,
            attempt=rank.attempt,
            host=platform.node(),
            kernel=_kernel(),
            pid=pid,
            started=_start_of(pid) or "",
        )

    def is_succeeded_by(self, other: Owner) -> bool:
        """Return whether the launcher has started `other` in the place of this process, which it does after its end."""
        same_place = (self.job, self.rank) == (other.job, other.rank)
        return bool(self.job) and same_place and self.attempt < other.attempt

    def has_ended(self) -> bool | None:
        """Return whether the process has ended; None if it cannot be seen from here, as that of another host."""
        if not self.kernel or not self.started or self.kernel != _kernel():
            return None
        return _start_of(self.pid) != self.started

    def encode(self, beat: int) -> bytes:
        """Return the content of the owner's file: who it is, and a number that grows while it lives."""
        return f"{json.dumps(asdict(self))}\n{beat:0{_BEAT_DIGITS}d}\n".encode()

    @classmethod
    def decode(cls, data: bytes) -> Owner | None:
        """Read what :meth:`encode` returned; None if it is not whole."""
        with suppress(ValueError, TypeError):
            values = json.loads(data.partition(b"\n")[0])
            return cls(**{each.name: values[each.name] for each in fields(cls) if each.name in values})
        return None


class Watch:
    """Judges from a sequence of observations whether an owner still lives.

    An owner whose file has not changed for the length of a lease, by this process's own clock, has lost its claims.
    Clocks of hosts and times of files are not compared, because both may differ between hosts.

    Args:
        me: The observing process.
        lease_s: Length of a lease in seconds.
        clock: Returns monotonic seconds.
    """

    def __init__(self, me: Owner, lease_s: float, clock: Callable[[], float]) -> None:
        self._me = me
        self._lease_s = lease_s
        self._clock = clock
        self._seen: dict[str, tuple[bytes, float]] = {}

    def is_gone(self, owner_id: str, content: bytes | None) -> bool:
        """Return whether an owner has ended, or has lost its lease.

        Args:
            owner_id: Id of the owner.
            content: What its file holds now; None if it has no file, since owners remove theirs when they end.
        """
        if content is None:
            return True
        owner = Owner.decode(content)
        if owner is not None and (owner.is_succeeded_by(self._me) or owner.has_ended()):
            return True
        before = self._seen.get(owner_id)
        if before is None or before[0] != content:
            self._seen[owner_id] = (content, self._clock())
            return False
        return self._clock() - before[1] > self._lease_s


def _kernel() -> str:
    """Return what tells process tables apart; empty where that is unknown."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start_of(pid: int) -> str | None:
    """Return when a process began, in the kernel's ticks; None if there is none, or only its remains."""
    try:
        fields_after_name = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields_after_name[0] in (b"Z", b"X") else fields_after_name[19].decode()
