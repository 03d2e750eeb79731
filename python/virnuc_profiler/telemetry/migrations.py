# SPDX-License-Identifier: MIT
"""Schema versions of the JSON files: which ones can be read, and how older ones become current.

A version is "major.minor". A new minor version adds keys or renames them. Where it renames them, a step in this module
turns the version before it into the new one; a file that only lacks new keys needs no step. Files of a newer minor
version are read as they are: their unknown keys are kept. Another major version is refused, because its keys may mean
something else.

To change a format, raise its ``version``, add a step from the version before if keys are renamed, and keep a file of
that version under ``tests/data/``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.values import shown

Document = dict[str, Any]
Step = Callable[[Document], Document]
"""Turns a document of one version into the next. It changes nothing in place, and passes on values of an unexpected
type: documents are validated only after they are migrated."""


class SchemaVersion(NamedTuple):
    """Version of a file format."""

    major: int
    minor: int

    @classmethod
    def parse(cls, value: Any) -> SchemaVersion:
        """Read a version such as "1.0".

        Args:
            value: Value of ``schema_version`` in a file.

        Raises:
            TelemetryFormatError: `value` is not a string of the form "major.minor".
        """
        match = re.fullmatch(r"([0-9]{1,4})\.([0-9]{1,4})", value) if isinstance(value, str) else None
        if match is None:
            raise TelemetryFormatError(f"schema_version is {shown(value)}; it must be a string such as '1.0'")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True)
class FileFormat:
    """One kind of file, its current version, and the steps from older versions.

    Attributes:
        version: Version that this package writes.
        steps: Steps from older minor versions to the next one, by the version that they start from. A version without
            a step passes unchanged.
    """

    version: str
    steps: Mapping[str, Step] = field(default_factory=dict)

    def migrate(self, document: Document) -> Document:
        """Return a document in the current version of the format.

        A newer minor version is returned unchanged.

        Args:
            document: Content of a file. Without ``schema_version`` it counts as the first version, "1.0".

        Raises:
            TelemetryFormatError: ``schema_version`` is malformed or of another major version.
        """
        version = require_readable(document.get("schema_version", "1.0"), self.version)
        for minor in range(version.minor, SchemaVersion.parse(self.version).minor):
            if step := self.steps.get(f"{version.major}.{minor}"):
                document = step(document)
            document = {**document, "schema_version": f"{version.major}.{minor + 1}"}
        return document


def require_readable(value: Any, current: str) -> SchemaVersion:
    """Return the version of a file, or refuse it if its major version is another one.

    Args:
        value: Value of ``schema_version`` in the file.
        current: Version that this package writes, such as "1.1".

    Raises:
        TelemetryFormatError: `value` is malformed or of another major version. The message lacks the file's name.
    """
    found, ours = SchemaVersion.parse(value), SchemaVersion.parse(current)
    if found.major != ours.major:
        way_out = "upgrade" if found.major > ours.major else "use an older"
        raise TelemetryFormatError(
            f"schema_version {found}; this version reads {ours.major}.x: {way_out} virnuc_profiler to read it"
        )
    return found


_OLD_SHAPE: Final = {"layers": "num_layers", "hidden": "hidden_size"}
_OLD_SPELLING: Final = "synchronising"
_NEW_SPELLING: Final = "synchronizing"


def _telemetry_1_0(document: Document) -> Document:
    """Rename the model's shape in the metadata, and spell "synchronizing" as the field does."""
    document = _with_new_shape(document, "run_metadata")
    summary = document.get("summary")
    if not isinstance(summary, dict):
        return document
    summary = dict(summary)
    if summary.get("bound_by") == _OLD_SPELLING:
        summary["bound_by"] = _NEW_SPELLING
    if isinstance(sentence := summary.get("diagnosis"), str):
        summary["diagnosis"] = sentence.replace(_OLD_SPELLING, _NEW_SPELLING)
    if isinstance(gaps := summary.get("device_gap_seconds"), dict):
        summary["device_gap_seconds"] = _renamed(gaps, {_OLD_SPELLING: _NEW_SPELLING})
    return {**document, "summary": summary}


def _telemetry_1_1(document: Document) -> Document:
    """Rename the share in device stages, which the device was busy for at most."""
    if not isinstance(summary := document.get("summary"), dict):
        return document
    return {**document, "summary": _renamed(summary, {"device_busy_fraction": "device_stages_fraction"})}


def _saved_run_1_0(document: Document) -> Document:
    """Rename the model's shape in the metadata, and the CPU time of the collector."""
    document = _with_new_shape(document, "metadata")
    if not isinstance(cost := document.get("cost"), dict):
        return document
    return {**document, "cost": _renamed(cost, {"harvest_cpu_ns": "collector_cpu_ns"})}


def _with_new_shape(document: Document, section: str) -> Document:
    metadata = document.get(section)
    if not isinstance(metadata, dict) or not isinstance(metadata.get("model_arithmetic"), dict):
        return document
    arithmetic = _renamed(metadata["model_arithmetic"], _OLD_SHAPE)
    return {**document, section: {**metadata, "model_arithmetic": arithmetic}}


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Rename keys in place of the old ones; a value that already has its new name wins."""
    return {names.get(key, key): value for key, value in values.items() if names.get(key) not in values}


TELEMETRY: Final = FileFormat("1.2", {"1.0": _telemetry_1_0, "1.1": _telemetry_1_1})
SAVED_RUN: Final = FileFormat("1.2", {"1.0": _saved_run_1_0})
