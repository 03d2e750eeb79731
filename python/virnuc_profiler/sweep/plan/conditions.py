# SPDX-License-Identifier: MIT
"""The conditions under which results were measured, and what makes two of them incomparable."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, KnobSet

VARIED: Final = "varied"
"""Stands in a sweep's conditions for what its own knobs change; each result names its own value."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of results. Results of different conditions are never compared.

    Attributes:
        machine: Description of the hardware.
        versions: Versions of the software.
        model: Description of the model, with its precision and the weights that were used.
        settings: Settings of the sweep itself.
        workload: Workload that the configurations are measured on; the sweep fills it in.
        knobs: Knobs of the target that was measured; JSON names them unless they are those of the built-in one.
    """

    machine: Mapping[str, Any]
    versions: Mapping[str, Any]
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    workload: Mapping[str, Any] = field(default_factory=dict)
    knobs: KnobSet = BUILTIN_KNOBS

    def differences(self, then: Conditions, workload: bool = True) -> list[Difference]:
        """Return what keeps results of other conditions from being compared with results of these.

        Args:
            then: The other conditions.
            workload: Whether the workload is compared too.
        """
        target = Difference("target", then.knobs.target, self.knobs.target)
        return [
            *([target] if target.then != target.now else []),
            *(
                Difference(f"{section}.{key}", before.get(key), today.get(key))
                for section, keys in _IDENTITY.items()
                if workload or section != "workload"
                for before, today in [(getattr(then, section), getattr(self, section))]
                for key in keys or tuple(dict.fromkeys((*before, *today)))
                if before.get(key, _OLDER.get(key)) != today.get(key, _OLDER.get(key))
            ),
            *self._differences_of_target(then),
        ]

    def _differences_of_target(self, then: Conditions) -> list[Difference]:
        """Return what a target other than the built-in one says of itself now, and has said otherwise."""
        before, today = (one.model.get("target", {}) for one in (then, self))
        if not isinstance(before, Mapping) or not isinstance(today, Mapping):
            return []
        return [
            Difference(f"model.target.{key}", before.get(key), today.get(key))
            for key in dict.fromkeys((*before, *today))
            if before.get(key) != today.get(key) and key not in (*_IDENTITY["model"], "versions")
        ]

    def with_varied(self, knobs: Iterable[str]) -> Conditions:
        """Return the conditions of a sweep that varies these knobs.

        What the knobs change in the model is a setting of such a sweep, and no reason to refuse a result.

        Args:
            knobs: Names of the knobs that need a model of their own.
        """
        changed = {key for name in knobs for key in self.knobs[name].model_keys}
        model = {
            key: (VARIED if isinstance(value, str) else None) if key in changed else value
            for key, value in self.model.items()
        }
        return replace(self, model=model)

    def to_json(self) -> dict[str, Any]:
        """Return the sections as result files hold them."""
        target = {} if self.knobs.is_builtin else {"target": self.knobs.to_json()}
        return {**{name: dict(getattr(self, name)) for name in _SECTIONS}, **target}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Conditions:
        """Read the sections of a document; a missing one is empty.

        Raises:
            TelemetryFormatError: A section is not an object, or the target cannot be read.
        """
        sections: dict[str, Any] = {name: document.get(name, {}) for name in _SECTIONS}
        if not all(isinstance(section, Mapping) for section in sections.values()):
            raise TelemetryFormatError(f"{', '.join(sections)} must be objects")
        return cls(**sections, knobs=KnobSet.from_json(document.get("target")))


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it was.

    Attributes:
        name: Section and key, such as ``versions.torch``.
        then: Value that it had.
        now: Value that it has.
    """

    name: str
    then: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name} was {json.dumps(self.then)} and is now {json.dumps(self.now)}"


_IDENTITY: Final[Mapping[str, tuple[str, ...]]] = {
    "workload": ("fingerprint", "num_sequences", "skipped_records", "sampling", "seed", "sample_fingerprint"),
    "model": ("model_name", "weights", "precision", "attention_backend", "kernels"),
    "machine": ("cpu_model", "cpu_usable_cores", "gpu_models", "driver_version"),
    "versions": (),  # all of them
    "settings": ("device", "device_name", "device_memory_gb", "host", "precision_target", "trial_seconds"),
}

_SECTIONS: Final = ("machine", "versions", "model", "settings", "workload")

_OLDER: Final[Mapping[str, Any]] = {"sampling": "first"}
"""Values of keys that files of older versions lack, and that mean what those versions did."""
