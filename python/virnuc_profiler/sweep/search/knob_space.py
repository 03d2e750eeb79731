# SPDX-License-Identifier: MIT
"""The space of an adaptive search over the knobs of any target.

Nothing is known of what the knobs do. So the search begins with points that fill the space evenly, and a configuration
that is at least as large in every number as one that has failed is not tried: most failures are of memory.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from virnuc_profiler.sweep.search.search_space import WORKERS, SearchSpace, is_ladder, nearest
from virnuc_profiler.targets.batch_bounds import SEQUENCE_KNOB, TOKEN_KNOBS
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.targets.knobs.knob import IntegerKnob, Knob, KnobValue

MAX_LEVELS: Final = 12
"""Most levels of a knob."""
MAX_CONFIGURATIONS: Final = 20_000
"""Most configurations of a space, since the search's model expects a rate of each. More make ladders shorter."""
MIN_BATCHES: Final = 10
"""Batches that the workload must fill, unless the target itself tries larger ones."""
SEEDS: Final = 5
WORKERS_KNOB: Final = "num_workers"
CAPPED: Final = (WORKERS_KNOB, *TOKEN_KNOBS, SEQUENCE_KNOB)
"""Knobs whose highest level depends on the machine and the workload."""
_WITHOUT_TRIES: Final = 8
"""Times the default that the size of a batch may have, where neither the memory nor the target names a bound."""
_WIDE: Final = 64
"""A range whose ends differ by this factor is climbed by ratio: nobody tries 100, 200, 300 and 400 of 1 to 500."""


@dataclass(frozen=True, eq=False)
class KnobSpace(SearchSpace):
    """The space of a target's knobs.

    Attributes:
        axes: Levels by the name of the knob. Other knobs have the value of `base`.
        base: Configuration whose knobs the axes vary.
    """

    base: Configuration

    @property
    def key(self) -> tuple[Any, ...]:
        """What two equal spaces have in common."""
        return (*super().key, self.base)

    def configuration(self, point: Mapping[str, Any]) -> Configuration:
        """Return the configuration of a point. A knob without effect there has the value of `base`.

        Args:
            point: Level by the name of the knob.
        """
        found = self.base.replace(**point)
        gates = {name: knob.idle_without for name, knob in found.knobs.items() if knob.idle_without is not None}
        return found.replace(**{name: self.base[name] for name, gate in gates.items() if not found[gate]})

    def point(self, configuration: Configuration) -> dict[str, Any]:
        """Return the nearest level along each axis.

        Args:
            configuration: Any configuration, which need not lie on the ladders.
        """
        return {name: nearest(levels, configuration[name]) for name, levels in self.axes.items()}

    def seeds(self) -> tuple[Configuration, ...]:
        """Return points that fill the space evenly: an additive recurrence (M. Roberts 2018, the R sequence).

        Workers and tokens of a batch have their highest levels in the first, so that a search that is continued finds
        its bounds again.
        """
        steps = _steps(len(self.axes))
        points = [
            {
                name: levels[int((0.5 + number * step) % 1 * len(levels))]
                for (name, levels), step in zip(self.axes.items(), steps, strict=True)
            }
            for number in range(SEEDS)
        ]
        points[0] |= {name: levels[-1] for name, levels in self.axes.items() if name in CAPPED}
        return tuple(dict.fromkeys(map(self.configuration, points)))

    def hopeless(self, failed: Collection[Configuration]) -> frozenset[Configuration]:
        """Return what has failed, and what is at least as large in every number and equal in everything else.

        Args:
            failed: Configurations that have failed.
        """
        beyond = (one for one in self.configurations if any(self._is_beyond(one, other) for other in failed))
        return frozenset((*failed, *beyond)) if failed else frozenset()

    def _is_beyond(self, one: Configuration, other: Configuration) -> bool:
        for name, knob in one.knobs.items():
            mine, theirs = one[name], other[name]
            if mine != theirs and (not isinstance(knob, IntegerKnob) or None in (mine, theirs) or mine < theirs):
                return False
        return True


def build_knob_space(
    base: Configuration, grid: Mapping[str, Sequence[KnobValue]], caps: Mapping[str, int]
) -> KnobSpace:
    """Return the space of a target's knobs.

    Args:
        base: Configuration of the baseline.
        grid: Values to choose from, by the name of the knob; those of the others follow from their ranges.
        caps: Highest values that the machine and the workload allow, by the name of the knob.
    """
    whole = {
        name: _ordered(grid[name]) if name in grid else levels_of(knob, caps.get(name))
        for name, knob in base.knobs.items()
    }
    axes = {name: levels for name, levels in whole.items() if len(levels) > 1}
    for most in range(MAX_LEVELS, 1, -1):
        axes = {name: _thinned(levels, most) for name, levels in axes.items()}
        if _size(axes) <= MAX_CONFIGURATIONS:
            break
    while _size(axes) > MAX_CONFIGURATIONS:  # of very many knobs, the first are explored
        axes.popitem()
    return KnobSpace(axes, base)


def _size(axes: Mapping[str, Sequence[Any]]) -> int:
    return math.prod(map(len, axes.values()))


def levels_of(knob: Knob, cap: int | None = None) -> tuple[KnobValue, ...]:
    """Return the levels of a knob that a search tries.

    Names are those that a sweep tries by default. The range of a number is climbed in steps of two where it is wide,
    else in equal steps, unless the target names one value to try.

    Args:
        knob: The knob.
        cap: Highest value that is allowed; None for that of its range.
    """
    if not isinstance(knob, IntegerKnob) or len(knob.tries) == 1:
        return knob.tried()
    high = max(knob.low, min(knob.high, knob.high if cap is None else cap))
    if knob.name == WORKERS_KNOB:
        usual: Sequence[int] = WORKERS
    elif knob.log or (knob.low >= 0 and knob.high >= _WIDE * max(1, knob.low)):
        usual = [0, *(2**power for power in range(high.bit_length()))]
    else:
        count = min(MAX_LEVELS, high - knob.low + 1) - 1
        usual = [knob.low + round(step * (high - knob.low) / max(1, count)) for step in range(count + 1)]
    own = [value for value in (*knob.tries, knob.default) if isinstance(value, int)]
    return tuple(sorted({knob.low, high, *(value for value in (*usual, *own) if knob.low <= value <= high)}))


def _ordered(values: Sequence[KnobValue]) -> tuple[Any, ...]:
    """Return values that were given as levels: numbers in ascending order, names in their own."""
    return tuple(sorted(values, key=int)) if is_ladder(values) else tuple(values)


def _thinned(levels: tuple[Any, ...], most: int) -> tuple[Any, ...]:
    """Return at most `most` levels of a ladder, evenly spaced with both ends; names all stay."""
    if len(levels) <= most or not is_ladder(levels):
        return levels
    return tuple(levels[round(step * (len(levels) - 1) / (most - 1))] for step in range(most))


def _steps(axes: int) -> tuple[float, ...]:
    """Return the steps of the R sequence: powers of the reciprocal of the root of x^(axes + 1) = x + 1."""
    root = 2.0
    for _ in range(32):
        root = (1 + root) ** (1 / (axes + 1))
    return tuple(root ** -(axis + 1) for axis in range(axes))


def caps_of(
    knobs: Mapping[str, Knob], *, workers: int, fitting_tokens: int | None, tokens: int, num_sequences: int
) -> dict[str, int]:
    """Return the highest values that are worth a trial, by the name of the knob.

    Args:
        knobs: Knobs of the target.
        workers: Most workers, which is the number of usable cores.
        fitting_tokens: Most tokens of a batch that fit into memory; None if that is not known.
        tokens: Tokens of the workload.
        num_sequences: Sequences of the workload.
    """
    mean = tokens / num_sequences
    caps = {WORKERS_KNOB: workers}
    for name in (*TOKEN_KNOBS, SEQUENCE_KNOB):
        knob = knobs.get(name)
        if knob is None:
            continue
        own = [value for value in knob.tries if isinstance(value, int)]
        usual = max(own, default=_WITHOUT_TRIES * int(knob.default or 1))
        unit = mean if name == SEQUENCE_KNOB else 1.0
        fitting = usual if fitting_tokens is None else int(fitting_tokens / unit)
        caps[name] = min(fitting, max(usual, int(tokens / unit / MIN_BATCHES)))
    return caps
