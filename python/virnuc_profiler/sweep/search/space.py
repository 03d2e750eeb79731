# SPDX-License-Identifier: MIT
"""The space of an adaptive search over the built-in target: a ladder of levels along each axis.

A step of a ladder is a step of the search's model of the rates. Rates answer to the ratio of two budgets, not to their
difference, so budgets grow by the square root of two, and workers ever faster. The buffer is measured in packs that it
holds: a small buffer would otherwise act as a smaller budget, and the model would see two hills where there is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from virnuc_profiler.sweep.search.search_space import WORKERS, SearchSpace, levels_up_to, nearest
from virnuc_profiler.targets.knobs.configuration import BASELINE, BUILTIN_KNOBS, Configuration

MIN_BUDGET: Final = 1024
MIN_BUFFER: Final = 250
MAX_BUFFER: Final = 32_000
BUDGET_WITHOUT_FORECAST: Final = 8192
"""Largest budget where nothing is known of the memory, as on a CPU: that of the default grid."""
MIN_PACKS: Final = 10
"""Packs of the largest budget that the workload must fill. The gap in the last of ten costs a tenth at most; with
fewer, it would decide the rate, and keep the packing efficiency below what steps require."""
PACKS_IN_BUFFER: Final = "packs_in_buffer"
"""The axis of the buffer: how many full packs it holds."""

_PREFETCH: Final = (1, 2, 4, 8, 16)
_PACKS: Final = (1, 2, 4, 8, 16, 32)
_APART: Final = 1.1
"""Ratio of two neighboring budgets, at least."""
_SEED_PACKS: Final = 8
"""Packs in the buffer of a seed. Best-fit packing leaves few gaps from then on."""


@dataclass(frozen=True, eq=False)
class Space(SearchSpace):
    """The space of the built-in target.

    Attributes:
        axes: Levels by the name of the axis: a knob, or :data:`PACKS_IN_BUFFER`. Other knobs have the baseline's value.
        mean_tokens: Mean number of tokens of a sequence of the workload, which turns packs into sequences.
        max_buffer: Largest buffer in sequences.
    """

    mean_tokens: float
    max_buffer: int = MAX_BUFFER

    @property
    def key(self) -> tuple[Any, ...]:
        """What two equal spaces have in common."""
        return (*super().key, self.mean_tokens, self.max_buffer)

    def configuration(self, point: Mapping[str, Any]) -> Configuration:
        """Return the configuration of a point.

        A knob without effect there, such as the prefetch factor without workers, has the baseline's value.

        Args:
            point: Level by the name of the axis.
        """
        values = dict(point)
        values["buffer_size"] = self._buffer(values["token_budget"], values.pop(PACKS_IN_BUFFER))
        for name in values:
            gate = BUILTIN_KNOBS[name].idle_without
            if gate is not None and not values[gate]:
                values[name] = BASELINE[name]
        return Configuration(**values)

    def point(self, configuration: Configuration) -> dict[str, Any]:
        """Return the nearest level along each axis.

        Args:
            configuration: Any configuration, which need not lie on the ladders.
        """
        packs = configuration.buffer_size * self.mean_tokens / configuration.token_budget
        return {
            name: nearest(levels, packs if name == PACKS_IN_BUFFER else configuration[name])
            for name, levels in self.axes.items()
        }

    def seeds(self) -> tuple[Configuration, ...]:
        """Return the configurations to begin with.

        Throughput grows with the budget until something else is the limit, and reading is that something else. So the
        largest budget is tried with many workers and with few. Middle ones follow, because throughput may also fall
        again, and one reading of a noisy machine would not show it.
        """
        workers, budgets = self.axes["num_workers"], self.axes["token_budget"]
        few = nearest(workers, min(2, workers[-1] // 2))
        middle = workers[len(workers) // 2]
        found = (
            self._seed(workers[-1], budgets[-1]),
            self._seed(few, budgets[-1]),
            self._seed(middle, nearest(budgets, budgets[-1] / 4)),
            self._seed(middle, nearest(budgets, budgets[-1] / 2)),
            self._seed(workers[-1], nearest(budgets, budgets[-1] / 8)),
        )
        return tuple(dict.fromkeys(found))

    def _seed(self, num_workers: int, token_budget: int) -> Configuration:
        point = {name: nearest(levels, BASELINE.get(name)) for name, levels in self.axes.items()}
        packs = nearest(self.axes[PACKS_IN_BUFFER], _SEED_PACKS)
        return self.configuration(
            {**point, "num_workers": num_workers, "token_budget": token_budget, PACKS_IN_BUFFER: packs}
        )

    def _buffer(self, token_budget: int, packs: float) -> int:
        wanted = _two_digits(packs * token_budget / self.mean_tokens)
        return max(min(wanted, self.max_buffer), min(MIN_BUFFER, self.max_buffer))


def build_space(
    *,
    workers: int,
    largest_budget: int,
    tokens: int,
    num_sequences: int,
    longest_tokens: int,
    precisions: Sequence[str] = (),
) -> Space:
    """Return the space of a machine, a model and a workload.

    Args:
        workers: Most workers, which is the number of usable cores.
        largest_budget: Largest token budget that fits into memory.
        tokens: Tokens of the workload.
        num_sequences: Sequences of the workload.
        longest_tokens: Tokens of its longest sequence, which the smallest budget must hold.
        precisions: Precisions to choose from; none to leave the model's.
    """
    lowest = max(MIN_BUDGET, longest_tokens)
    highest = max(lowest, min(largest_budget, max(BUDGET_WITHOUT_FORECAST, tokens // MIN_PACKS)))
    axes: dict[str, tuple[Any, ...]] = {
        "num_workers": levels_up_to(WORKERS, max(0, workers)),
        "prefetch_factor": _PREFETCH,
        "token_budget": _budgets(lowest, highest),
        PACKS_IN_BUFFER: _PACKS,
    }
    if len(precisions) > 1:
        axes["precision"] = tuple(precisions)
    return Space(axes, tokens / num_sequences, min(MAX_BUFFER, max(MIN_BUFFER, num_sequences)))


def _budgets(lowest: int, highest: int) -> tuple[int, ...]:
    """Return budgets that grow by the square root of two, the baseline's among them, and end at the highest."""
    steps = (round(MIN_BUDGET * 2 ** (step / 2)) for step in range(2 * 31))
    between = [budget for budget in steps if lowest * _APART < budget < highest / _APART]
    return tuple(dict.fromkeys((lowest, *between, highest)))


def _two_digits(value: float) -> int:
    """Round up to two significant digits, since nobody needs a buffer of 2,439 sequences."""
    unit = 10 ** max(0, math.floor(math.log10(max(value, 1))) - 1)
    return int(math.ceil(value / unit) * unit)
