# SPDX-License-Identifier: MIT
"""Reading and validating telemetry files, including those of other programs that write the format."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.files import MAX_BYTES, read_json
from virnuc_profiler.telemetry.migrations import TELEMETRY
from virnuc_profiler.telemetry.schema import find_problem, telemetry_schema
from virnuc_profiler.telemetry.values import printable, shown


def read_telemetry(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Read and validate a telemetry file of any version with the same major number.

    The document is returned in the current version of the schema. Optional keys that the file lacks stay missing,
    except for ``run_metadata``, which is empty then. Unknown keys are kept.

    Args:
        path: File to read.
        max_bytes: Size limit; a larger file is refused instead of filling the memory.

    Raises:
        TelemetryFormatError: The file cannot be read, is too large, is not JSON, does not fit the schema, or has
            another major schema version. The message names the file and the JSON path.
    """
    return current_telemetry(read_json(path, max_bytes=max_bytes), str(path))


def current_telemetry(document: Any, name: str) -> dict[str, Any]:
    """Validate the content of a telemetry file and return it in the current version of the schema.

    Args:
        document: Content of the file, of any type.
        name: Name of the file in error messages.

    Raises:
        TelemetryFormatError: The document does not fit the schema, or has another major schema version.
    """
    if isinstance(document, dict):
        try:
            document = TELEMETRY.migrate(document)
        except TelemetryFormatError as error:
            raise TelemetryFormatError(f"{name}: {error}") from error
    try:
        _require_schema(document)
    except TelemetryFormatError as error:
        raise TelemetryFormatError(f"{name} is not a telemetry file: {error}") from error
    return {**document, "run_metadata": document.get("run_metadata", {})}


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
    from jsonschema import Draft202012Validator  # takes 0.2 s to import; only readers need it

    return Draft202012Validator(telemetry_schema())
