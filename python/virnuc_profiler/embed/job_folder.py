# SPDX-License-Identifier: MIT
"""Where the files of a job lie in its folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

VECTORS_FOLDER: Final = "vectors"
RESIDUES_FOLDER: Final = "residues"
TELEMETRY_FOLDER: Final = "telemetry"
_UNFINISHED: Final = ".unfinished-"


def shard_file(kind: str, number: int, suffix: str) -> str:
    """Return the name of a shard's file in the folder of the job, such as ``vectors/shard_00012.parquet``.

    Args:
        kind: Folder of such files.
        number: Number of the shard.
        suffix: Suffix of the name, without the dot.
    """
    return f"{kind}/shard_{number:05d}.{suffix}"


def unfinished_path(path: Path, rank: str) -> Path:
    """Return the path under which a rank writes a file before it is complete.

    Args:
        path: Path of the complete file.
        rank: Name of the rank.
    """
    return path.with_name(f".{path.name}{_UNFINISHED}{rank}")


def remove_unfinished_files(folder: Path, rank: str) -> None:
    """Remove what this rank was writing when it was killed.

    Args:
        folder: Folder of the job.
        rank: Name of the rank.
    """
    for kind in (VECTORS_FOLDER, RESIDUES_FOLDER):
        for path in (folder / kind).glob(f".shard_*{_UNFINISHED}{rank}"):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Put the names of a folder's files on the disk.

    Args:
        folder: The folder.

    Raises:
        OSError: That failed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems sync no folders
            raise
    finally:
        os.close(descriptor)
