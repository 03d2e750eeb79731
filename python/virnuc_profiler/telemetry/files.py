# SPDX-License-Identifier: MIT
"""Files that are either whole or not there."""

import contextlib
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.errors import OutputError, TelemetryFormatError
from virnuc_profiler.telemetry.json_text import parse_json

MAX_BYTES = 512 * 1024 * 1024
"""Largest file read by default: some 500,000 batches."""


_UNFINISHED: Final = ".unfinished-"


def write_text_atomically(path: str | os.PathLike[str], text: str) -> Path:
    """Writes `text` so that a reader sees the old file or the new one, also after a crash or on a full disk.

    Raises:
        OutputError: the file cannot be written; nothing of it is left behind.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}{_UNFINISHED}")
        temporary = Path(name)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask())  # mkstemp makes private files; results are not secret
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    return path


def write_json_atomically(path: str | os.PathLike[str], document: Any) -> Path:
    """Writes `document` as JSON, see :func:`write_text_atomically`.

    Raises:
        OutputError: the file cannot be written.
        ValueError: the document holds NaN or infinity, which JSON does not have.
    """
    return write_text_atomically(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def remove_unfinished(folder: Path) -> None:
    """Removes what a process left that was killed while it wrote a file atomically, in `folder` and those below.

    Only for a folder that nobody else writes into meanwhile. What cannot be removed stays: it harms nobody.
    """
    for path in folder.rglob(f".*{_UNFINISHED}????????"):
        with contextlib.suppress(OSError):
            path.unlink()


def read_json(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Any:
    """Reads a JSON file.

    Args:
        path: the file.
        max_bytes: a larger file is refused instead of filling the memory.

    Raises:
        TelemetryFormatError: the file is missing, cannot be read, is too large, or is not JSON.
    """
    path = Path(path)
    try:
        status = path.stat()  # asked first, since opening a pipe would wait for its writer
        if not stat.S_ISREG(status.st_mode):
            raise TelemetryFormatError(f"cannot read {path}: it is not a file")
        if status.st_size > max_bytes:
            raise TelemetryFormatError(
                f"{path} has {status.st_size:,} bytes, more than the limit of {max_bytes:,} (max_bytes of the readers)"
            )
        return parse_json(path.read_bytes())
    except OSError as error:
        raise TelemetryFormatError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise TelemetryFormatError(f"{path} is not valid JSON: {error}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
