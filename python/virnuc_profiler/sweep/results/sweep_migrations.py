# SPDX-License-Identifier: MIT
"""Journals and result files of older versions, brought to the form of this one.

The same major version is read: keys that this version does not know are kept, and older minor versions are migrated
here. Another major version is refused by name.

* 1.0: the option and setting ``min_cosine`` was called ``least_cosine``; results said nothing of a varied model.
* 1.1: configurations may name a ``precision``, and then results have ``model`` and ``model_reloaded``.
* 1.2: ``equals_within_noise`` is null where there is no ``noise``; before, it was 0. ``constraint_met`` of a choice is
  that of its validation, and ``constraint_met_in_steps`` what it was before. Results and documents have more keys; see
  CHANGELOG.md.
* 1.3: there is a step ``confirmation``; trials may name ``block`` and ``attempt``, and results have a ``standing``.
  ``best`` is the one with the shortest predicted time; before, it was the one with the highest sequences per second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.steps import MIN_PACKING
from virnuc_profiler.telemetry import migrations

VERSION: Final = "1.3"
"""Version of journals and result files that this program writes."""

_RENAMED: Final[Mapping[str, str]] = {"least_cosine": "min_cosine"}
"""Old and new names of options and settings."""


def require_readable(version: Any, what: str) -> None:
    """Refuse a version that this program cannot read.

    Args:
        version: Version that the file names, such as ``1.0``.
        what: Name of the file or entry, for the message.

    Raises:
        TelemetryFormatError: `version` is malformed or of another major version.
    """
    try:
        migrations.require_readable(version, VERSION)
    except TelemetryFormatError as error:
        raise TelemetryFormatError(f"{what}: {error}") from None


def migrate_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a step or a best configuration in the form of this version."""
    document = _without_unmeasured_equals(_with_new_names(document, "settings"))
    if isinstance(selection := document.get("selection"), Mapping):
        document["selection"] = _without_unmeasured_equals(selection)
    return _with_rule_of_validation(document)


def migrate_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of a journal in the form of this version.

    Only the entry that begins a sweep names a version, so each migration works from what an entry holds.
    """
    return _with_new_names(_with_new_names(entry, "settings"), "options")


def _with_rule_of_validation(document: dict[str, Any]) -> dict[str, Any]:
    """Let ``constraint_met`` of a choice be that of its validation; before 1.2 it was that of the steps before."""
    selection = document.get("selection")
    if isinstance(selection, Mapping):
        return {**document, "selection": _with_rule(selection, document.get("constraint_met"))}
    validation = document.get("validation")
    if not isinstance(validation, Mapping):
        return document
    packing = validation.get("packing_efficiency")
    return _with_rule(document, packing >= MIN_PACKING if isinstance(packing, float) else None)


def _with_rule(choice: Mapping[str, Any], met: Any) -> dict[str, Any]:
    if "constraint_met" not in choice or "constraint_met_in_steps" in choice:
        return dict(choice)
    return {**choice, "constraint_met": met, "constraint_met_in_steps": choice["constraint_met"]}


def _without_unmeasured_equals(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a choice, with null instead of a count that was made without a noise to compare with."""
    if choice.get("equals_within_noise") is None or choice.get("noise") is not None:
        return dict(choice)
    return {**choice, "equals_within_noise": None}


def _with_new_names(values: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Rename keys of a section, unless the new name is there already."""
    old = values.get(section)
    if not isinstance(old, Mapping):
        return dict(values)
    new = {_RENAMED.get(key, key) if _RENAMED.get(key) not in old else key: value for key, value in old.items()}
    return {**values, section: new}
