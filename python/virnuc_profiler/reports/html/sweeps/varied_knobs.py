# SPDX-License-Identifier: MIT
"""Columns for the knobs that differ among configurations, so that a row names each in a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from virnuc_profiler.reports.html.html_table import Cell, Column
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.targets.knobs.knob import KnobValue


class VariedKnobs:
    """The knobs in which configurations differ.

    Args:
        configurations: The configurations.

    Attributes:
        names: Names of the knobs that have several values; those that are written where none has.
    """

    def __init__(self, configurations: Iterable[Configuration]) -> None:
        self._found = list(dict.fromkeys(configurations))
        knobs = list(self._found[0].knobs) if self._found else []
        varied = [name for name in knobs if len({one[name] for one in self._found}) > 1]
        written = self._found[0].values() if self._found else {}
        self.names = varied or list(written)

    def columns(self) -> list[Column]:
        """Return the columns."""
        knobs = self._found[0].knobs if self._found else {}
        return [Column(knobs[name].heading, numeric=self._is_numeric(name), help=name) for name in self.names]

    def cells(self, configuration: Configuration) -> list[Cell]:
        """Return the cells of a configuration.

        Args:
            configuration: The configuration.
        """
        return [
            Cell(configuration.knobs[name].text(configuration[name]), sorting_key(configuration[name]))
            for name in self.names
        ]

    def _is_numeric(self, name: str) -> bool:
        return all(is_number(one[name]) for one in self._found)


def is_number(value: KnobValue) -> bool:
    """Return whether the value of a knob is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def sorting_key(value: KnobValue) -> float | str:
    """Return what a column of values is sorted by."""
    return float(value) if isinstance(value, int | float) else str(value)


def all_numeric(values: Sequence[KnobValue]) -> bool:
    """Return whether all values of a knob are numbers."""
    return all(map(is_number, values))
