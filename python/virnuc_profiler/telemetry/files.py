# SPDX-License-Identifier: MIT
"""Reading JSON files, and writing files atomically: a reader never sees part of one."""

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Final

import numpy as np

from virnuc_profiler.errors import OutputError, TelemetryFormatError, folder_problem
from virnuc_profiler.telemetry.json_text import parse_json
from virnuc_profiler.telemetry.long_lists.number_lists import number_list_text

MAX_BYTES = 512 * 1024 * 1024
"""Default size limit of files that are read; room for some 500,000 batches."""

_UNFINISHED: Final = ".unfinished-"
_LONG: Final = 256
"""Entries from which on a list is long."""


def write_text_atomically(path: str | os.PathLike[str], text: str | Iterable[str]) -> Path:
    """Write a text file so that readers see the old content or the new, even after a crash or on a full disk.

    Args:
        path: File to write. Missing folders are created.
        text: New content as a whole or in pieces, written as UTF-8.

    Returns:
        The path.

    Raises:
        OutputError: The file cannot be written. No partial file is left behind.
    """
    return _write_atomically(Path(path), [text] if isinstance(text, str) else text)


def write_json_atomically(path: str | os.PathLike[str], document: Any) -> Path:
    """Write a JSON document as :func:`write_text_atomically` does, without having its text in memory.

    Long lists have a line for each entry, or for some hundred numbers: that takes about half the time of a line for
    each value, since Python's fast encoder does not indent.

    Args:
        path: File to write. Missing folders are created.
        document: Plain JSON values. Iterators become lists whose entries are made and written one by one; these
            entries, and those of long lists, hold no further iterators. Arrays of integers become lists in which null
            stands for ``NOT_MEASURED``.

    Returns:
        The path.

    Raises:
        OutputError: The file cannot be written.
        ValueError: The document contains NaN or infinity, which JSON does not support.
    """
    return _write_atomically(Path(path), json_pieces(document))


def json_pieces(document: Any) -> Iterator[str]:
    """Yield the JSON text of a document piece by piece, so that long lists need not be in memory.

    Args:
        document: Plain JSON values. Iterators and arrays become lists, as for :func:`write_json_atomically`.

    Raises:
        ValueError: The document contains NaN or infinity, which JSON does not support.
    """
    yield from _pieces(document)
    yield "\n"


def _pieces(value: Any) -> Iterator[str]:
    if isinstance(value, Iterator):
        yield from _lines(value)
    elif isinstance(value, np.ndarray):
        yield from number_list_text(value)
    elif not _has_long_list(value):
        yield json.dumps(value, indent=1, allow_nan=False)
    elif isinstance(value, dict):
        for number, (key, entry) in enumerate(value.items()):
            yield f"{',' if number else '{'}\n{_name(key)}: "
            yield from _pieces(entry)
        yield "\n}"
    elif len(value) < _LONG:
        for number, entry in enumerate(value):
            yield ",\n" if number else "[\n"
            yield from _pieces(entry)
        yield "\n]"
    elif isinstance(value[0], dict | list):
        yield from _lines(value)
    else:
        texts = (json.dumps(value[start : start + _LONG], allow_nan=False) for start in range(0, len(value), _LONG))
        yield "[\n" + ",\n".join(text[1:-1] for text in texts) + "\n]"


def _name(key: Any) -> str:
    """Return the JSON name of a dictionary's key; numbers, booleans and None become strings as in Python's encoder."""
    return json.dumps({key: 0}).removeprefix("{").removesuffix(": 0}")


def _lines(entries: Iterable[Any]) -> Iterator[str]:
    before = "[\n"
    for entry in entries:
        yield before + json.dumps(entry, allow_nan=False)
        before = ",\n"
    yield "[]" if before == "[\n" else "\n]"


def _has_long_list(value: Any) -> bool:
    """Whether there is a long list, an iterator or an array in nested dictionaries and lists."""
    if isinstance(value, Iterator | np.ndarray) or (isinstance(value, list) and len(value) >= _LONG):
        return True
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_has_long_list, entries))


def _write_atomically(path: Path, pieces: Iterable[str]) -> Path:
    with opened_atomically(path) as file:
        file.writelines(piece.encode("utf-8") for piece in pieces)
    return path


@contextlib.contextmanager
def opened_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes its name once it is whole.

    Args:
        path: File to write. Missing folders are created.

    Raises:
        OutputError: The file cannot be written. No partial file is left behind.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}{_UNFINISHED}")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask())  # mkstemp creates private files, but results are not secret
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {_problem(error)}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def move_aside(path: Path, why: str) -> Path | None:
    """Rename a file so that another can take its name, and nothing is lost.

    Args:
        path: The file, such as ``run_a.json``.
        why: Reason of the new name, such as ``earlier``.

    Returns:
        Its new path, such as ``run_a.earlier-1.json``; None if there is no such file.

    Raises:
        OutputError: The file cannot be renamed.
    """
    number = 1
    while (there := path.with_name(f"{path.stem}.{why}-{number}{path.suffix}")).exists():
        number += 1
    try:
        path.rename(there)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"cannot move {path} aside, to {there.name}: {error.strerror or error}") from error
    return there


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote a file.

    Files that cannot be removed are left: they do no harm.

    Args:
        folder: Folder to search, subfolders included. No other process may be writing into it.
    """
    for path in folder.rglob(f".*{_UNFINISHED}????????"):
        with contextlib.suppress(OSError):
            path.unlink()


def read_json(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Any:
    """Read a JSON file of unknown origin.

    Args:
        path: File to read.
        max_bytes: Size limit; a larger file is refused instead of filling the memory.

    Raises:
        TelemetryFormatError: The file is missing, cannot be read, is too large, or is not valid JSON.
    """
    return read_file(path, lambda file: parse_json(file.read()), max_bytes=max_bytes)


def read_file(path: str | os.PathLike[str], parse: Callable[[BinaryIO], Any], *, max_bytes: int | None) -> Any:
    """Read a file of unknown origin with a parser of JSON.

    Args:
        path: File to read.
        parse: Reads the opened file and returns its content; raises ValueError if it is not valid JSON.
        max_bytes: Size limit; a larger file is refused instead of filling the memory. None for no limit.

    Raises:
        TelemetryFormatError: The file is missing, cannot be read, is too large, or is not valid JSON.
    """
    path = Path(path)
    try:
        status = path.stat()  # checked before opening: opening a pipe would wait for its writer
        if not stat.S_ISREG(status.st_mode):
            raise TelemetryFormatError(f"cannot read {path}: it is not a file")
        if max_bytes is not None and status.st_size > max_bytes:
            raise TelemetryFormatError(
                f"{path} has {status.st_size:,} bytes, more than the limit of {max_bytes:,} (max_bytes of the readers)"
            )
        with path.open("rb") as file:
            return parse(file)
    except OSError as error:
        raise TelemetryFormatError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise TelemetryFormatError(f"{path} is not valid JSON: {error}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _problem(error: OSError) -> str:
    """Return why a file cannot be written; its folder, and not it, is what cannot be made of a file."""
    return "a part of its path is a file" if isinstance(error, FileExistsError) else folder_problem(error)
