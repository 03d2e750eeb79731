# SPDX-License-Identifier: MIT
"""Reads telemetry files, also those of other writers of the format."""

from __future__ import annotations

import math
import os
import stat
from functools import cache
from pathlib import Path
from typing import Any

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.files import read_json
from virnuc_profiler.telemetry.schema import find_problem, telemetry_schema
from virnuc_profiler.telemetry.values import MAX_DEPTH, printable, shown

MAX_BYTES = 512 * 1024 * 1024
"""Largest file read by default: some 500,000 batches."""


def read_telemetry(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Reads and validates a telemetry file.

    Missing optional keys stay missing, but ``run_metadata`` is always there.

    Args:
        path: the file.
        max_bytes: a larger file is refused instead of filling the memory.

    Raises:
        TelemetryFormatError: the file cannot be read, is too large, is not JSON, or does not fit the schema; the
            message names the file and the JSON path.
    """
    path = Path(path)
    _require_size(path, max_bytes)
    document = read_json(path)
    try:
        validate_telemetry(document)
    except TelemetryFormatError as error:
        raise TelemetryFormatError(f"{path} is not a telemetry file: {error}") from error
    return {**document, "run_metadata": document.get("run_metadata", {})}


def validate_telemetry(document: Any) -> None:
    """Checks a loaded document against the schema.

    Raises:
        TelemetryFormatError: it does not fit; the message names the JSON path.
    """
    _require_plain(document)
    records = document.get("per_batch_metrics") if isinstance(document, dict) else None
    envelope = {**document, "per_batch_metrics": []} if isinstance(records, list) else document
    if (error := next(_validator().iter_errors(envelope), None)) is not None:
        raise TelemetryFormatError(f"{printable(error.json_path)}: {printable(error.message)}")
    for number, record in enumerate(records or ()):
        where = f"$.per_batch_metrics[{number}]"
        if not isinstance(record, dict):
            raise TelemetryFormatError(f"{where}: {shown(record)} is not an object")
        if (problem := find_problem("batch", record)) is not None:
            key, value, expected = problem
            raise TelemetryFormatError(f"{where}.{key}: {shown(value)} must be {expected}")


def _require_size(path: Path, max_bytes: int) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise TelemetryFormatError(f"cannot read {path}: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise TelemetryFormatError(f"cannot read {path}: it is not a file")
    if status.st_size > max_bytes:
        raise TelemetryFormatError(
            f"{path} has {status.st_size:,} bytes, more than the limit of {max_bytes:,}; raise max_bytes to read it"
        )


def _require_plain(document: Any) -> None:
    """Refuses deep nesting, and numbers like 1e999 that Python reads as infinity."""
    level: list[Any] = [[document]]
    for _ in range(MAX_DEPTH + 2):
        below: list[Any] = []
        for container in level:
            for value in container.values() if isinstance(container, dict) else container:
                if isinstance(value, dict | list):
                    below.append(value)
                elif type(value) is float and not math.isfinite(value):
                    raise TelemetryFormatError("it holds a number beyond the range of floating point")
        if not below:
            return
        level = below
    raise TelemetryFormatError(f"it is nested more than {MAX_DEPTH} levels deep")


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator  # 0.2 s to import, and only readers need it

    return Draft202012Validator(telemetry_schema())
