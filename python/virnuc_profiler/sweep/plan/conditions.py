# SPDX-License-Identifier: MIT
"""The conditions under which results were measured, and what makes two of them incomparable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from virnuc_profiler.errors import TelemetryFormatError


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which conditions results came to be. Results of different conditions are never compared.

    Attributes:
        machine: the hardware.
        versions: of the software.
        model: with its precision and the weights that were used.
        settings: of the sweep itself.
        workload: what configurations are measured on; the sweep fills it in.
    """

    machine: Mapping[str, Any]
    versions: Mapping[str, Any]
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    workload: Mapping[str, Any] = field(default_factory=dict)

    def differences(self, then: Conditions, workload: bool = True) -> list[Difference]:
        """What keeps results of other conditions from being comparable with those of these.

        Args:
            then: the others.
            workload: whether it counts too.
        """
        return [
            Difference(f"{section}.{key}", before.get(key), today.get(key))
            for section, keys in _IDENTITY.items()
            if workload or section != "workload"
            for before, today in [(getattr(then, section), getattr(self, section))]
            for key in keys or tuple(dict.fromkeys((*before, *today)))
            if before.get(key) != today.get(key)
        ]

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Conditions:
        """Those that a document names.

        Raises:
            TelemetryFormatError: it does not name them.
        """
        sections = {part.name: document.get(part.name, {}) for part in fields(cls)}
        if not all(isinstance(section, Mapping) for section in sections.values()):
            raise TelemetryFormatError(f"{', '.join(sections)} must be objects")
        return cls(**sections)


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it was.

    Attributes:
        name: of the section and the key, such as ``versions.torch``.
        then: what it was.
        now: what it is.
    """

    name: str
    then: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name} was {json.dumps(self.then)} and is now {json.dumps(self.now)}"


_IDENTITY: Final[Mapping[str, tuple[str, ...]]] = {
    "workload": ("fingerprint", "num_sequences"),
    "model": ("model_name", "weights", "precision", "attention_backend", "kernels"),
    "machine": ("cpu_model", "cpu_usable_cores", "gpu_models", "driver_version"),
    "versions": (),  # all of them
    "settings": ("device", "device_name", "device_memory_gb", "host"),
}
