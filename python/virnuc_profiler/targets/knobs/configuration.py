# SPDX-License-Identifier: MIT
"""The knobs that a target has, and one value for each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NoReturn

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.targets.knobs.builtin_knobs import BUILTIN
from virnuc_profiler.targets.knobs.knob import FIRST_VERSION, Knob, KnobValue, Part
from virnuc_profiler.targets.knobs.knob_json import knob_from_json

BUILTIN_TARGET: Final = "builtin"
"""Name of the target that this package brings: its own loader, packing, model and runner."""


def target_name(spec: str) -> str:
    """Return the name of a target in results: of one in a file, without the folder, which may be another one tomorrow.

    Args:
        spec: Target as the user names it: a name, ``module:factory``, or ``path.py:factory``.
    """
    file, colon, factory = spec.rpartition(":")
    return f"{Path(file).name}:{factory}" if colon and file.endswith(".py") else spec


def with_absolute_path(spec: str) -> str:
    """Return a target as the user names it; of one in a file, with a path that holds from any folder.

    Args:
        spec: A name, ``module:factory``, or ``path.py:factory``.
    """
    file, colon, factory = spec.rpartition(":")
    return f"{Path(file).absolute()}:{factory}" if colon and file.endswith(".py") else spec


@dataclass(frozen=True)
class KnobSet(Mapping[str, Knob]):
    """The knobs of a target by their names, in the order of run ids and tables. It cannot be changed.

    Attributes:
        target: Name of the target that has them; the path of a file is left out of it.
        knobs: The knobs.

    Raises:
        ValueError: Two knobs share a name, or a knob is named like an attribute of :class:`Configuration`, or depends
            on one that is not there.
    """

    target: str
    knobs: tuple[Knob, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", target_name(self.target))
        object.__setattr__(self, "knobs", tuple(self.knobs))
        taken = set(_RESERVED)
        for knob in self.knobs:
            if knob.name in taken:
                raise ValueError(f"{self.target} cannot have a knob of the name {knob.name!r}: it is taken")
            taken.add(knob.name)
            if knob.idle_without is not None and knob.idle_without not in self:
                raise ValueError(f"{knob.name} depends on {knob.idle_without!r}, which is not a knob of {self.target}")

    @property
    def is_builtin(self) -> bool:
        """Whether these are the knobs of the built-in target."""
        return self.target == BUILTIN_TARGET

    @cached_property
    def baseline(self) -> Configuration:
        """The configuration in which each knob has its default."""
        return Configuration(knobs=self)

    @cached_property
    def model_knobs(self) -> tuple[str, ...]:
        """Names of the knobs whose values need a model of their own."""
        return tuple(knob.name for knob in self.knobs if knob.needs_new_model)

    def require(self, name: str) -> Knob:
        """Return the knob of this name.

        Raises:
            ValueError: There is none; the message lists those that there are.
        """
        if name not in self:
            whose = "the built-in target" if self.is_builtin else self.target
            raise ValueError(f"{name!r} is not a knob of {whose}; the knobs are {', '.join(self) or 'none'}")
        return self[name]

    def to_json(self) -> dict[str, Any]:
        """Return the name of the target and the definitions of its knobs, from which the set can be made again."""
        return {"name": self.target, "knobs": [knob.to_json() for knob in self.knobs]}

    @classmethod
    def from_json(cls, values: Any) -> KnobSet:
        """Read what :meth:`to_json` returned; None, as in files of the built-in target, gives its knobs.

        Raises:
            TelemetryFormatError: It is something else.
        """
        if values is None:
            return BUILTIN_KNOBS
        try:
            name, knobs = values["name"], values["knobs"]
            if not isinstance(name, str) or not isinstance(knobs, list):
                raise ValueError("name must be a text, and knobs a list")
            return cls(name, tuple(map(knob_from_json, knobs)))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise TelemetryFormatError(f"its target cannot be read: {error}") from None

    def __getitem__(self, name: str) -> Knob:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self.knobs)

    def __reduce__(self) -> tuple[Any, ...]:
        return KnobSet, (self.target, self.knobs)  # without what was computed from them

    @cached_property
    def _by_name(self) -> dict[str, Knob]:
        return {knob.name: knob for knob in self.knobs}


_RESERVED: Final = frozenset(
    ("arguments", "from_json", "get", "knobs", "replace", "run_id", "short_name", "target", "to_json", "values")
)
"""Attributes of :class:`Configuration`, which a knob of that name would hide."""

_MAX_RUN_ID: Final = 160
"""Longest name of a run. Names of files add some 30 characters, and may have 255."""

BUILTIN_KNOBS: Final = KnobSet(BUILTIN_TARGET, BUILTIN)


class Configuration:
    """One value for each knob of a target. It cannot be changed, and equals another one of the same values.

    Values are read as attributes, ``configuration.batch_size``, or by name, ``configuration["batch_size"]``.

    Args:
        *values: Values in the order of the knobs.
        knobs: The knobs; those of the built-in target by default.
        **named: Values by the name of the knob. A knob without a value has its default.

    Raises:
        TypeError: There are more values than knobs, or a knob has two.
        ValueError: A knob does not exist, or a value has the wrong type or is out of its range.
    """

    __slots__ = ("_values", "knobs")

    knobs: KnobSet
    _values: dict[str, KnobValue]

    def __init__(self, *values: Any, knobs: KnobSet = BUILTIN_KNOBS, **named: Any) -> None:
        if len(values) > len(knobs):
            raise TypeError(f"{len(values)} values for the {len(knobs)} knobs {', '.join(knobs)}")
        given = dict(zip(knobs, values, strict=False))
        for name, value in named.items():
            knobs.require(name)
            if name in given:
                raise TypeError(f"{name} has two values, {given[name]!r} and {value!r}")
            given[name] = value
        checked = {name: knob.check(given.get(name, knob.default)) for name, knob in knobs.items()}
        object.__setattr__(self, "knobs", knobs)
        object.__setattr__(self, "_values", checked)

    @property
    def run_id(self) -> str:
        """The name of a run with this configuration, which is also part of its files' names."""
        parts = (knob.run_id_part(self._values[name]) for name, knob in self.knobs.items())
        whole = "_".join(["tune", *filter(None, parts)])
        if len(whole) <= _MAX_RUN_ID:
            return whole
        digest = hashlib.sha256(whole.encode()).hexdigest()
        return f"{whole[: _MAX_RUN_ID - 17]}_{digest[:16]}"

    @property
    def short_name(self) -> str:
        """The values in codes, such as ``4w 4pf 4096tb 2000bs``, for narrow tables."""
        return " ".join(filter(None, (knob.run_id_part(self._values[name]) for name, knob in self.knobs.items())))

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a knob; `default` if the target has no such knob.

        Args:
            name: Name of the knob.
            default: What to return without it.
        """
        return self._values.get(name, default)

    def replace(self, **values: Any) -> Configuration:
        """Return this configuration with other values of some knobs.

        Args:
            **values: Values by the name of the knob.
        """
        return Configuration(knobs=self.knobs, **{**self._values, **values})

    def arguments(self, part: Part) -> dict[str, Any]:
        """Return the keyword arguments by which one part of a run gets the values that are not its defaults."""
        return {self.knobs[name].argument: value for name, value in self.values(part).items()}

    def values(self, part: Part | None = None) -> dict[str, KnobValue]:
        """Return the values by name, as files name them.

        Args:
            part: Part of a run whose knobs are wanted; None for all of them.
        """
        return {
            name: value
            for name, value in self._values.items()
            if part in (None, self.knobs[name].part) and self.knobs[name].is_written(value)
        }

    def to_json(self) -> dict[str, KnobValue]:
        """Return the values as result files hold them."""
        return self.values()

    @classmethod
    def from_json(cls, values: Mapping[str, Any], knobs: KnobSet = BUILTIN_KNOBS) -> Configuration:
        """Read the values of a file. A knob that came after the first version has its default where it is missing.

        Args:
            values: The values by the name of the knob.
            knobs: The knobs.

        Raises:
            ValueError: A knob is missing, cannot have its value, or is unknown, as in a file of a newer version.
        """
        for name in values:
            knobs.require(name)
        for name, knob in knobs.items():
            if name not in values and knob.since == FIRST_VERSION and knob.default is not None:
                raise ValueError(f"{name} is missing")
        return cls(knobs=knobs, **values)

    def __getitem__(self, name: str) -> Any:
        self.knobs.require(name)
        return self._values[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._values:  # copy and pickle ask before there are values
            raise AttributeError(f"a configuration has no {name!r}")
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{name} cannot be set to {value!r}: a configuration does not change; use replace()")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name} cannot be deleted: a configuration does not change")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Configuration):
            return NotImplemented
        return self.knobs.target == other.knobs.target and self._values == other._values

    def __hash__(self) -> int:
        return hash((self.knobs.target, *self._values.values()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _configuration, (self.knobs, tuple(self._values.values()))

    def __str__(self) -> str:
        values = ", ".join(f"{name}={self.knobs[name].text(value)}" for name, value in self.values().items())
        return values or "the defaults"

    def __repr__(self) -> str:
        target = "" if self.knobs.is_builtin else f"{self.knobs.target}: "
        return f"Configuration({target}{self})"


def _configuration(knobs: KnobSet, values: tuple[KnobValue, ...]) -> Configuration:
    """Make a configuration again, as a copy or from a pickle."""
    return Configuration(*values, knobs=knobs)


BASELINE: Final = BUILTIN_KNOBS.baseline
