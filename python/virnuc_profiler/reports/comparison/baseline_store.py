# SPDX-License-Identifier: MIT
"""Named baselines: what a comparison needs of some runs, one JSON file each, in a folder that may be shared."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.analysis.comparison.measured_run import Side
from virnuc_profiler.errors import OutputError, TelemetryFormatError, UsageError
from virnuc_profiler.telemetry.files import read_json, write_json_atomically
from virnuc_profiler.telemetry.migrations import FileFormat
from virnuc_profiler.telemetry.typed_records import require_type
from virnuc_profiler.telemetry.values import shown

PATH_VARIABLE: Final = "VIRNUC_PROFILER_BASELINES"

_KIND: Final = "virnuc_profiler baseline"
_FORMAT: Final = FileFormat("1.0")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline.

    Attributes:
        name: Its name.
        saved: When it was saved, ISO 8601 in UTC.
        version: Version of the package that saved it.
        side: The runs.
    """

    name: str
    saved: str
    version: str
    side: Side

    def to_json(self) -> dict[str, Any]:
        """Return the baseline as its file holds it."""
        return {
            "kind": _KIND,
            "schema_version": _FORMAT.version,
            "name": self.name,
            "saved": self.saved,
            "saved_by": self.version,
            **self.side.to_json(),
        }


def baselines_folder() -> Path:
    """Return $VIRNUC_PROFILER_BASELINES, or else ``virnuc_profiler/baselines`` in the user's data folder.

    It is not the cache folder, because a baseline cannot be made again.
    """
    if chosen := os.environ.get(PATH_VARIABLE):
        return Path(chosen)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "virnuc_profiler" / "baselines"


def save_baseline(folder: Path, name: str, side: Side, version: str, *, replaces: bool = False) -> Path:
    """Write a baseline.

    Args:
        folder: Folder of the baselines. It is made if it is missing.
        name: Name of the baseline.
        side: The runs.
        version: Version of the package.
        replaces: Whether a baseline of that name is replaced.

    Returns:
        The path of its file.

    Raises:
        UsageError: The name cannot be used, or there is such a baseline already.
        OutputError: The file cannot be written.
    """
    path = _path_of(folder, name)
    baseline = Baseline(name, datetime.now(timezone.utc).isoformat(timespec="seconds"), version, side)
    if replaces:
        return write_json_atomically(path, baseline.to_json())
    temporary = write_json_atomically(folder / f".{name}.{secrets.token_hex(4)}", baseline.to_json())
    try:
        os.link(temporary, path)  # unlike a rename, this never replaces a file that another process has just written
    except FileExistsError:
        raise UsageError(f"the baseline {name} exists in {folder}; --replace replaces it") from None
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load_baseline(folder: Path, name: str) -> Baseline:
    """Read a baseline.

    Args:
        folder: Folder of the baselines.
        name: Name of the baseline.

    Raises:
        UsageError: The name cannot be used, or there is no such baseline.
        TelemetryFormatError: Its file cannot be read, or is something else.
    """
    path = _path_of(folder, name)
    if not path.exists():
        known = ", ".join(baseline_names(folder)) or "none"
        raise UsageError(f"there is no baseline {name} in {folder} (there: {known}); baseline save {name} RUN makes it")
    document = read_json(path)
    if not isinstance(document, dict) or document.get("kind") != _KIND:
        raise TelemetryFormatError(f"{path} is not a baseline")
    try:
        return _baseline(_FORMAT.migrate(document), name)
    except TelemetryFormatError as error:
        raise TelemetryFormatError(f"{path} is not a whole baseline: {error}") from None


def baseline_names(folder: Path) -> list[str]:
    """Return the names of the baselines in a folder, sorted; none if there is no folder.

    Args:
        folder: Folder of the baselines.
    """
    return sorted(path.stem for path in folder.glob("*.json") if _NAME.fullmatch(path.stem))


def remove_baseline(folder: Path, name: str) -> Path:
    """Remove a baseline.

    Args:
        folder: Folder of the baselines.
        name: Name of the baseline.

    Returns:
        The path of the file that was removed.

    Raises:
        UsageError: The name cannot be used, or there is no such baseline.
        OutputError: The file cannot be removed.
    """
    path = _path_of(folder, name)
    try:
        path.unlink()
    except FileNotFoundError:
        raise UsageError(f"there is no baseline {name} in {folder}") from None
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {error.strerror or error}") from error
    return path


def _path_of(folder: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{shown(name)} cannot name a baseline; use letters, digits, dots, hyphens and underscores, "
            "beginning with a letter or digit, at most 100"
        )
    return folder / f"{name}.json"


def _baseline(document: Mapping[str, Any], name: str) -> Baseline:
    for key in ("saved", "saved_by"):
        require_type(document.get(key), (str,), key)
    side = replace(Side.from_json(document), name=f"baseline {name}")
    return Baseline(name, document["saved"], document["saved_by"], side)
