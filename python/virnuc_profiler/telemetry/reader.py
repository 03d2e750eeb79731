# SPDX-License-Identifier: MIT
"""Reads telemetry files, also those of other writers of the format."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.files import MAX_BYTES, read_json
from virnuc_profiler.telemetry.json_text import require_plain
from virnuc_profiler.telemetry.schema import find_problem, telemetry_schema
from virnuc_profiler.telemetry.values import printable, shown


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
    document = read_json(path, max_bytes=max_bytes)
    try:
        _require_schema(document)
    except TelemetryFormatError as error:
        raise TelemetryFormatError(f"{path} is not a telemetry file: {error}") from error
    return {**document, "run_metadata": document.get("run_metadata", {})}


def validate_telemetry(document: Any) -> None:
    """Checks a loaded document against the schema.

    Raises:
        TelemetryFormatError: it does not fit; the message names the JSON path.
    """
    try:
        require_plain(document)
    except ValueError as error:
        raise TelemetryFormatError(str(error)) from error
    _require_schema(document)


def _require_schema(document: Any) -> None:
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


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator  # 0.2 s to import, and only readers need it

    return Draft202012Validator(telemetry_schema())
