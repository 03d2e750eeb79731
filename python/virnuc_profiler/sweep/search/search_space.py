# SPDX-License-Identifier: MIT
"""What a search explores: levels along each axis, and the configuration at each point."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Final

from virnuc_profiler.targets.knobs.configuration import Configuration

WORKERS: Final = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Numbers of workers that are worth a step of a search."""


@dataclass(frozen=True, eq=False)
class SearchSpace(ABC):
    """Levels along each axis, in ascending order.

    Attributes:
        axes: Levels by the name of the axis, which is usually a knob. Other knobs have one value.
    """

    axes: Mapping[str, tuple[Any, ...]]

    @cached_property
    def configurations(self) -> tuple[Configuration, ...]:
        """All configurations of the space. Points that differ only in what has no effect are one configuration."""
        points = (dict(zip(self.axes, levels, strict=True)) for levels in product(*self.axes.values()))
        return tuple(dict.fromkeys(map(self.configuration, points)))

    @cached_property
    def positions(self) -> tuple[tuple[float, ...], ...]:
        """The place of each of them in the unit cube."""
        return tuple(map(self.position, self.configurations))

    def position(self, configuration: Configuration) -> tuple[float, ...]:
        """Return the place of a configuration in the unit cube; choices without an order have one coordinate each."""
        place: list[float] = []
        for name, level in self.point(configuration).items():
            levels = self.axes[name]
            if is_ladder(levels):
                place.append(levels.index(level) / max(1, len(levels) - 1))
            elif len(levels) > 1:
                place += [float(level == other) for other in levels]
        return tuple(place)

    @abstractmethod
    def configuration(self, point: Mapping[str, Any]) -> Configuration:
        """Return the configuration of a point.

        Args:
            point: Level by the name of the axis.
        """

    @abstractmethod
    def point(self, configuration: Configuration) -> dict[str, Any]:
        """Return the nearest level along each axis.

        Args:
            configuration: Any configuration, which need not lie on the ladders.
        """

    @abstractmethod
    def seeds(self) -> tuple[Configuration, ...]:
        """Return the configurations to begin with, after the baseline."""

    def hopeless(self, failed: Collection[Configuration]) -> frozenset[Configuration]:
        """Return the configurations that need not be tried, given those that have failed.

        Args:
            failed: Configurations that have failed.
        """
        return frozenset(failed)

    @property
    def key(self) -> tuple[Any, ...]:
        """What two equal spaces have in common."""
        return tuple(self.axes.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and (type(self), self.key) == (type(other), other.key)

    def __hash__(self) -> int:
        return hash(self.key)


def is_ladder(levels: Sequence[Any]) -> bool:
    """Return whether levels have an order, as numbers do, and names do not.

    Args:
        levels: Levels along an axis.
    """
    return all(isinstance(level, int | float) for level in levels)


def nearest(levels: Sequence[Any], value: Any) -> Any:
    """Return the level that is nearest to a value, by ratio; the first one if the value is no number.

    Args:
        levels: Levels along an axis.
        value: The value.
    """
    if not isinstance(value, int | float) or not is_ladder(levels):
        return value if value in levels else levels[0]
    lowest = min(*levels, value)  # ratios need positive numbers
    return min(levels, key=lambda level: abs(math.log((1 + level - min(0, lowest)) / (1 + value - min(0, lowest)))))


def levels_up_to(levels: Sequence[int], highest: int) -> tuple[int, ...]:
    """Return the levels below a highest one, and that.

    Args:
        levels: Usual levels, in ascending order.
        highest: The highest level.
    """
    return (*(level for level in levels if level < highest), highest)
