# SPDX-License-Identifier: MIT
"""Save and load calibrations in one JSON file in the user's cache folder."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.capture.calibration import Calibration, Ceiling
from virnuc_profiler.errors import OutputError, TelemetryFormatError
from virnuc_profiler.telemetry.files import move_aside, read_json, write_json_atomically

PATH_VARIABLE: Final = "VIRNUC_PROFILER_CALIBRATION"

_KIND: Final = "virnuc_profiler calibration"
_SCHEMA_VERSION: Final = "1.0"
_KEY: Final = ("uuid", "name", "driver_version", "torch_version")

_log = logging.getLogger(__name__)


def calibration_path() -> Path:
    """Return $VIRNUC_PROFILER_CALIBRATION, or else ``virnuc_profiler/calibration.json`` in the user's cache folder."""
    if chosen := os.environ.get(PATH_VARIABLE):
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "virnuc_profiler" / "calibration.json"


def save_calibration(calibration: Calibration) -> Path:
    """Add a calibration to the file, in place of one with the same GPU, driver and PyTorch.

    Processes that calibrate several GPUs at once wait for each other. A file that is no calibration is moved aside.

    Raises:
        OutputError: The file cannot be written.
    """
    document = asdict(calibration)
    path = calibration_path()
    with _locked(path):
        found = _read(path)
        if found is None and (kept := move_aside(path, "unreadable")) is not None:
            _log.warning("%s is kept as %s", path, kept.name)
        others = [entry for entry in found or () if any(entry.get(part) != document[part] for part in _KEY)]
        return write_json_atomically(
            path, {"kind": _KIND, "schema_version": _SCHEMA_VERSION, "calibrations": [*others, document]}
        )


def load_ceiling(
    *,
    uuid: str | None,
    precision: str | None,
    driver_version: str | None = None,
    torch_version: str | None = None,
) -> Ceiling | None:
    """Return the newest measured ceiling of a GPU in one precision, or None if there is none.

    Args:
        uuid: UUID of the GPU. None gives None.
        precision: ``bf16``, ``fp16``, ``tf32`` or ``fp32``. None gives None.
        driver_version: Driver version of the measurement. None accepts any.
        torch_version: PyTorch version of the measurement. None accepts any.
    """
    wanted = {"uuid": uuid, "driver_version": driver_version, "torch_version": torch_version}
    if uuid is None or precision is None:
        return None
    matches = (
        _ceiling(entry, precision)
        for entry in reversed(_entries())
        if all(value is None or entry.get(key) == value for key, value in wanted.items())
    )
    return next((ceiling for ceiling in matches if ceiling is not None), None)


def _entries() -> list[Mapping[str, Any]]:
    """Read the entries of the file. A damaged file counts as empty, so that a run does not fail because of it."""
    return _read(calibration_path()) or []


def _read(path: Path) -> list[Mapping[str, Any]] | None:
    """Return the entries of a file, none if it does not exist; None, after a warning, if it is no calibration."""
    if not path.exists():
        return []
    try:
        document = read_json(path)
    except TelemetryFormatError as error:
        _log.warning("the calibration file is ignored: %s; `virnuc-profiler doctor --calibrate` replaces it", error)
        return None
    entries = document.get("calibrations") if isinstance(document, dict) and document.get("kind") == _KIND else None
    if not isinstance(entries, list):
        _log.warning(
            "the calibration file is ignored: %s is not a calibration of virnuc_profiler; "
            "`virnuc-profiler doctor --calibrate` replaces it",
            path,
        )
        return None
    return [entry for entry in entries if isinstance(entry, dict)]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock beside a file, where the file system has locks.

    Raises:
        OutputError: The lock cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _ceiling(entry: Mapping[str, Any], precision: str) -> Ceiling | None:
    try:
        ceiling = Ceiling(**entry["ceilings"][precision])  # older files lack the key of the SM clock
        if not ceiling.flops_per_second > 0:
            return None
    except (KeyError, TypeError):
        return None
    clock_mhz: object = ceiling.sm_clock_mhz
    usable = isinstance(clock_mhz, (int, float)) and clock_mhz > 0
    return ceiling if usable else replace(ceiling, sm_clock_mhz=None)
