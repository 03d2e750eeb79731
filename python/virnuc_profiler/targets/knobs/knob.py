# SPDX-License-Identifier: MIT
"""The kinds of knobs. A knob owns everything that depends on its type: checks, parsing, text and help.

The knobs themselves are the fields of :class:`~virnuc_profiler.targets.knobs.configuration.Configuration`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Literal, TypeAlias

KnobValue: TypeAlias = int | str | None
"""The value of a knob, which is also its JSON form; None leaves the choice to the program."""

Part: TypeAlias = Literal["dataset", "loader", "collator", "model"]
"""The part of a run that takes a knob's value as an argument."""

FIRST_VERSION: Final = "1.0"
"""First version of the result files."""

_MAX_DIGITS: Final = 18
_MAX_SHOWN: Final = 40
"""Characters of a number that a message shows."""

METADATA_KEY: Final = "knob"
"""The key under which a field's metadata holds its knob."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob(ABC):
    """One setting that a sweep can vary.

    Attributes:
        name: Name of its field in ``Configuration``, and of its key in JSON.
        default: Value in the baseline.
        heading: Column heading in tables.
        help: Meaning, as ``--help`` shows it.
        part: Part of a run that takes the value. A new value for the model means that the model is loaded again.
        argument: Name of the argument that passes the value to that part.
        code: Suffix of the value in run ids, such as ``w`` in ``4w``.
        default_text: What happens without a value, for knobs whose default is None.
        idle_without: Name of the knob that makes this one ineffective while it is 0; None if there is none.
        model_keys: Keys of a model's description that change with this knob.
        since: Version of the result files that has the knob first. Later knobs are left out of files and run ids while
            they have their default, so that those of older sweeps stay as they are.
    """

    name: str = ""
    default: KnobValue = None
    heading: str
    help: str
    part: Part
    argument: str = ""
    code: str = ""
    default_text: str = ""
    idle_without: str | None = None
    model_keys: tuple[str, ...] = ()
    since: str

    metavar: ClassVar[str]

    @property
    def option(self) -> str:
        """The command-line option, such as ``--num-workers``."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def needs_new_model(self) -> bool:
        """Whether the model must be loaded again for another value."""
        return self.part == "model"

    def named(self, name: str) -> Knob:
        """Return this knob with the name of its field, which is also the default of `argument`."""
        return replace(self, name=name, argument=self.argument or name)

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
                raise ValueError(f"{self.name} has the value {value} twice")
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
                raise ValueError(f"{text!r} names {value} twice")
            values.append(value)
        return tuple(values)

    def text(self, value: KnobValue) -> str:
        """Return a value as tables and messages show it."""
        return "default" if value is None else str(value)

    def is_written(self, value: KnobValue) -> bool:
        """Whether files and run ids name a value; if they do not, the knob has its default."""
        return value is not None and (self.since == FIRST_VERSION or value != self.default)

    def run_id_part(self, value: KnobValue) -> str:
        """Return the value with its code, as run ids contain it; empty if the value is not written."""
        return f"{value}{self.code}" if self.is_written(value) else ""

    def full_help(self, default: str) -> str:
        """Return meaning, range and default in one line.

        Args:
            default: The default in words, or values that are tried by default.
        """
        parts = (self.short_range(), f"default: {self.default_text or default}")
        return f"{self.help} ({'; '.join(filter(None, parts))})"

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
    """

    low: int
    high: int

    metavar: ClassVar[str] = "N"

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
        choices: The names, in the order in which messages list them.
    """

    choices: tuple[str, ...]

    metavar: ClassVar[str] = "NAME"

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


def integer_knob(default: int, **attributes: Any) -> int:
    """Declare a field of ``Configuration`` that holds a whole number.

    Args:
        default: Value in the baseline.
        **attributes: Attributes of :class:`IntegerKnob`.
    """
    return field(default=default, metadata={METADATA_KEY: IntegerKnob(default=default, **attributes)})


def choice_knob(default: str | None, **attributes: Any) -> str | None:
    """Declare a field of ``Configuration`` that holds one of a few names.

    Args:
        default: Value in the baseline; None leaves the choice to the program and is left out of files and run ids.
        **attributes: Attributes of :class:`ChoiceKnob`.
    """
    return field(default=default, metadata={METADATA_KEY: ChoiceKnob(default=default, **attributes)})


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
