# SPDX-License-Identifier: MIT
"""The kinds of knobs. A knob owns everything that depends on its type: checks, parsing, text and help.

A target makes its own, such as ``IntegerKnob(name="batch_size", default=8, low=1, high=512, tries=(4, 8, 16))``; those
of the built-in target are in :mod:`~virnuc_profiler.targets.knobs.builtin_knobs`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Literal, TypeAlias
from urllib.parse import quote

KnobValue: TypeAlias = bool | int | str | None
"""The value of a knob, which is also its JSON form; None leaves the choice to the program."""

Part: TypeAlias = Literal["dataset", "loader", "collator", "model", "run"]
"""The part of a run that takes a knob's value as an argument; ``run`` is all that a target of its own does."""

FIRST_VERSION: Final = "1.0"
"""First version of the result files."""

_MAX_DIGITS: Final = 18
_MAX_SHOWN: Final = 40
"""Characters of a number that a message shows."""

_BOOLEANS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob(ABC):
    """One setting that a sweep can vary.

    Attributes:
        name: Name of the knob in configurations and in JSON.
        default: Value in the baseline.
        tries: Values that a sweep tries by default; empty for those of :meth:`tried`.
        help: Meaning in a few words.
        heading: Column heading in tables; empty for the name.
        part: Part of a run that takes the value. A new value for the model means that the model is loaded again.
        argument: Name of the argument that passes the value to that part; empty for the name.
        code: Suffix of the value in run ids, such as ``w`` in ``4w``; None for the name before it, as in
            ``batch_size=8``.
        default_text: What happens without a value, for knobs whose default is None.
        idle_without: Name of the knob that makes this one ineffective while it is 0; None if there is none.
        model_keys: Keys of a model's description that change with this knob.
        since: Version of the result files that has the knob first. Later knobs are left out of files and run ids while
            they have their default, so that those of older sweeps stay as they are.

    Raises:
        ValueError: The name is none, or the knob cannot have its default or a value that it tries.
    """

    name: str
    default: KnobValue = None
    tries: tuple[KnobValue, ...] = ()
    help: str = ""
    heading: str = ""
    part: Part = "run"
    argument: str = ""
    code: str | None = None
    default_text: str = ""
    idle_without: str | None = None
    model_keys: tuple[str, ...] = ()
    since: str = FIRST_VERSION

    kind: ClassVar[str]
    metavar: ClassVar[str]

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name.startswith("_"):
            raise ValueError(f"a knob cannot be called {self.name!r}: use letters, digits and underscores")
        self._set("heading", self.heading or self.name.replace("_", " ").capitalize())
        self._set("argument", self.argument or self.name)
        self._set("tries", tuple(self.tries))
        self._set("model_keys", tuple(self.model_keys))
        self.check(self.default)
        if self.tries:
            self.check_list(self.tries)

    def _set(self, name: str, value: Any) -> None:
        """Complete an attribute while the knob is made."""
        object.__setattr__(self, name, value)

    @property
    def option(self) -> str:
        """The command-line option, such as ``--num-workers``."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def needs_new_model(self) -> bool:
        """Whether the model must be loaded again for another value."""
        return self.part == "model"

    def tried(self) -> tuple[KnobValue, ...]:
        """Return the values that a sweep tries by default: `tries`, or the default alone."""
        return self.tries or (self.default,)

    def check(self, value: Any) -> KnobValue:
        """Return `value` if the knob can have it.

        Raises:
            ValueError: The value has another type or is out of range. The message names knob, value and range.
        """
        if not (value is None and self.default is None) and not self.accepts(value):
            raise ValueError(f"{self.name} is {value!r}; it must be {self.range_text()}")
        checked: KnobValue = value
        return checked

    def check_list(self, values: Sequence[Any]) -> tuple[KnobValue, ...]:
        """Return the values of a grid.

        Raises:
            ValueError: There are none, one occurs twice, or the knob cannot have one of them.
        """
        if not values:
            raise ValueError(f"{self.name} has no values to try")
        for number, value in enumerate(values):
            if self.check(value) in values[:number]:
                raise ValueError(f"{self.name} has the value {self.text(value)} twice")
        return tuple(values)

    def parse(self, text: str) -> KnobValue:
        """Read one value from the command line.

        Raises:
            ValueError: The text is not a value, or is a list.
        """
        return self.check(self.read(text))

    def parse_list(self, text: str) -> tuple[KnobValue, ...]:
        """Read a comma-separated list of values from the command line.

        Raises:
            ValueError: An entry is not a value, or occurs twice.
        """
        values: list[KnobValue] = []
        for part in text.split(","):
            value = self.parse(part)
            if value in values:
                raise ValueError(f"{text!r} names {self.text(value)} twice")
            values.append(value)
        return tuple(values)

    def text(self, value: KnobValue) -> str:
        """Return a value as tables and messages show it."""
        return "default" if value is None else str(value)

    def is_written(self, value: KnobValue) -> bool:
        """Whether files and run ids name a value; if they do not, the knob has its default."""
        return value is not None and (self.since == FIRST_VERSION or value != self.default)

    def run_id_part(self, value: KnobValue) -> str:
        """Return the value as run ids and so file names contain it; empty if the value is not written."""
        if not self.is_written(value):
            return ""
        text = quote(self.text(value), safe="").replace("~", "%7E").replace("%", "~")  # nsys expands % in file names
        return f"{self.name}={text}" if self.code is None else f"{text}{self.code}"

    def full_help(self, default: str) -> str:
        """Return meaning, range and default in one line.

        Args:
            default: The default in words, or values that are tried by default.
        """
        parts = (self.short_range(), f"default: {self.default_text or default}")
        return f"{self.help} ({'; '.join(filter(None, parts))})"

    def to_json(self) -> dict[str, Any]:
        """Return the definition of the knob, from which it can be made again. Usual attributes are left out."""
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        known = {name: value for name, (value, usual) in values.items() if value != usual}
        return {"kind": self.kind, **{n: list(v) if isinstance(v, tuple) else v for n, v in known.items()}}

    @abstractmethod
    def accepts(self, value: Any) -> bool:
        """Whether a value other than None has the right type and is in range."""

    @abstractmethod
    def read(self, text: str) -> KnobValue:
        """Turn text into a value of the right type, which may still be out of range.

        Raises:
            ValueError: The text is of another type.
        """

    @abstractmethod
    def range_text(self) -> str:
        """Return what a value must be, for messages."""

    @abstractmethod
    def short_range(self) -> str:
        """Return what a value must be, for ``--help``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerKnob(Knob):
    """A knob whose values are whole numbers.

    Attributes:
        low: Smallest value, inclusive.
        high: Largest value, inclusive.
        log: Whether a search takes steps of equal ratio, rather than of equal difference.

    Raises:
        ValueError: The range is empty.
    """

    low: int
    high: int
    log: bool = False

    kind: ClassVar[str] = "integer"
    metavar: ClassVar[str] = "N"

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"{self.name} has no values: low is {self.low:,} and high is {self.high:,}")
        Knob.__post_init__(self)  # not super(), which slots break

    def accepts(self, value: Any) -> bool:
        """Whether `value` is an integer, but not a bool, within the range."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def read(self, text: str) -> int:
        """Read decimal digits."""
        if "," in text:
            raise ValueError(f"{text!r} is not a whole number; only sweep takes lists")
        return parse_integer(text)

    def range_text(self) -> str:
        """Return the range in words."""
        return f"a whole number from {self.low:,} to {self.high:,}"

    def short_range(self) -> str:
        """Return the lower bound, since the upper one is never met in practice; empty where it goes without saying."""
        return f"at least {self.low}" if self.low > 0 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceKnob(Knob):
    """A knob whose values are a few names.

    Attributes:
        choices: The names, in the order in which messages list them; the command line separates them by commas.

    Raises:
        ValueError: There are none, one occurs twice, or one could not be given on the command line.
    """

    choices: tuple[str, ...]

    kind: ClassVar[str] = "choice"
    metavar: ClassVar[str] = "NAME"

    def __post_init__(self) -> None:
        self._set("choices", tuple(self.choices))
        if not self.choices or len(set(self.choices)) < len(self.choices):
            raise ValueError(f"{self.name} has the choices {self.choices}; give at least one, and each once")
        for choice in self.choices:
            if not choice or not choice.isprintable() or "," in choice or choice != choice.strip():
                raise ValueError(
                    f"{self.name} has the choice {choice!r}; a choice is a text without commas, control characters, "
                    "or spaces around it"
                )
        Knob.__post_init__(self)  # not super(), which slots break

    def tried(self) -> tuple[KnobValue, ...]:
        """Return the values that a sweep tries by default: `tries`, or all choices."""
        return self.tries or self.choices

    def accepts(self, value: Any) -> bool:
        """Whether `value` is one of the names."""
        return isinstance(value, str) and value in self.choices

    def read(self, text: str) -> str:
        """Return the name as it stands, without surrounding spaces."""
        if "," in text:
            raise ValueError(f"{text!r} is not one of {', '.join(self.choices)}; only sweep takes lists")
        return text.strip()

    def range_text(self) -> str:
        """Return the names."""
        return f"one of {', '.join(self.choices)}"

    def short_range(self) -> str:
        """Return the names."""
        return self.range_text()


@dataclass(frozen=True, slots=True, kw_only=True)
class BooleanKnob(Knob):
    """A knob that is on or off."""

    kind: ClassVar[str] = "boolean"
    metavar: ClassVar[str] = "true|false"

    def tried(self) -> tuple[KnobValue, ...]:
        """Return the values that a sweep tries by default: `tries`, or both, the default first."""
        return self.tries or (bool(self.default), not self.default)

    def accepts(self, value: Any) -> bool:
        """Whether `value` is True or False."""
        return isinstance(value, bool)

    def read(self, text: str) -> bool:
        """Read ``true`` or ``false``."""
        found = _BOOLEANS.get(text.strip())
        if found is None:
            raise ValueError(f"{self.name} is {text!r}; it must be {self.range_text()}")
        return found

    def text(self, value: KnobValue) -> str:
        """Return ``true`` or ``false``."""
        return "default" if value is None else str(value).lower()

    def range_text(self) -> str:
        """Return the two values."""
        return "true or false"

    def short_range(self) -> str:
        """Return the two values."""
        return self.range_text()


def parse_integer(text: str) -> int:
    """Read a whole number from the command line.

    int() would also accept "1_000" and digits of other scripts, and refuse thousands of digits with advice.

    Raises:
        ValueError: The text is not a whole number, or has more than 18 characters.
    """
    text = text.strip()
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(f"{text!r} is not a whole number")
    if len(text) > _MAX_DIGITS:
        shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
        raise ValueError(f"{shown} is too large: use at most {_MAX_DIGITS} digits")
    return int(text)
