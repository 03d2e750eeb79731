# SPDX-License-Identifier: MIT
"""Check on each node of a cluster that a rank could run there: the same files and the same version of this package."""

from __future__ import annotations

import platform
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from virnuc_profiler import __version__
from virnuc_profiler.embed.claimed_shards import CLAIMS_FOLDER
from virnuc_profiler.errors import OutputError, folder_problem

PATIENCE_S: Final = 5.0
"""How long a new file may take to be seen on another node: network file systems remember what was not there."""


@dataclass(frozen=True, slots=True)
class NodeProbe:
    """What a node must see.

    Attributes:
        folder: Folder of the job.
        token: Name of a file in it that was just written, which no other folder has.
        fasta: File of the sequences.
        fasta_bytes: Its size.
        version: Version of this package.
    """

    folder: Path
    token: str
    fasta: Path
    fasta_bytes: int
    version: str = __version__

    @property
    def file(self) -> Path:
        """The file that was just written."""
        return self.folder / CLAIMS_FOLDER / f"probe.{self.token}"


@contextmanager
def node_probe(folder: Path, fasta: Path) -> Iterator[NodeProbe]:
    """Write a file into the folder of a job, by which its nodes recognize it, and remove it when the block ends.

    Args:
        folder: Folder of the job, as an absolute path.
        fasta: File of the sequences, as an absolute path.

    Raises:
        OutputError: The folder cannot be written.
    """
    probe = NodeProbe(folder, secrets.token_hex(8), fasta, fasta.stat().st_size)
    try:
        probe.file.parent.mkdir(parents=True, exist_ok=True)
        probe.file.touch()
    except OSError as error:
        raise OutputError(f"cannot write {probe.file}: {folder_problem(error)}") from error
    try:
        yield probe
    finally:
        probe.file.unlink(missing_ok=True)


def node_problem(probe: NodeProbe) -> str | None:
    """Return why no rank can run on this host, in a sentence; None if one can.

    Args:
        probe: What this host must see.
    """
    host = platform.node()
    if probe.version != __version__:
        return f"{host} has virnuc_profiler {__version__}, not {probe.version}: install the same version on every node"
    deadline = time.monotonic() + PATIENCE_S
    while not probe.file.exists():
        if time.monotonic() >= deadline:
            return (
                f"{host} does not see the files in {probe.folder}: --output-dir and --fasta must be on a file system "
                "that all nodes of the cluster mount"
            )
        time.sleep(0.1)
    try:
        if probe.fasta.stat().st_size != probe.fasta_bytes:
            return f"{host} sees another file as {probe.fasta}: --fasta must be on a file system that all nodes mount"
    except OSError as error:
        return f"{host} cannot read {probe.fasta} ({error.strerror}): put it where all nodes of the cluster see it"
    try:
        with tempfile.TemporaryFile(dir=probe.folder) as file:
            file.write(b"\0")
            file.flush()
    except OSError as error:
        return f"{host} cannot write into {probe.folder}: {folder_problem(error)}"
    return None
