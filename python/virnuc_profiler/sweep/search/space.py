# SPDX-License-Identifier: MIT
"""The space of an adaptive search: a short ladder of levels for each knob.

A step of a ladder is a step of the search's model. Rates answer to the ratio of two budgets, not to their difference,
so budgets and buffers grow by the square root of two, and workers ever faster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from virnuc_profiler.errors import UsageError
from virnuc_profiler.sweep.plan.configuration import BASELINE, KNOBS, Configuration
from virnuc_profiler.sweep.plan.knobs import KnobValue

MIN_BUDGET: Final = 1024
MIN_BUFFER: Final = 250
MAX_BUFFER: Final = 32_000
BUDGET_WITHOUT_FORECAST: Final = 8192
"""Largest budget where nothing is known of the memory, as on a CPU: that of the default grid."""

MIN_PACKS: Final = 4
"""Packs of the largest budget that the workload must fill. With fewer, the last pack's gap decides the rate."""

_WORKERS: Final = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_PREFETCH: Final = (1, 2, 4, 8, 16)
_PACKS_IN_BUFFER: Final = 4
"""Packs that a seed's buffer holds. Best-fit packing leaves few gaps from then on."""


@dataclass(frozen=True, slots=True)
class Space:
    """Levels of each knob, in ascending order.

    Attributes:
        levels: Values by the name of the knob; knobs that are left out have the values of the baseline.
        mean_tokens: Mean number of tokens of a sequence of the workload.
    """

    levels: Mapping[str, tuple[Any, ...]]
    mean_tokens: float

    @property
    def size(self) -> int:
        """Number of combinations of levels."""
        return math.prod(len(values) for values in self.levels.values())

    def configuration(self, indices: Mapping[str, int]) -> Configuration:
        """Return the configuration at these positions of the ladders.

        A knob without effect there, such as the prefetch factor without workers, has the baseline's value.

        Args:
            indices: Position in its ladder by the name of the knob.
        """
        values: dict[str, Any] = {name: self.levels[name][index] for name, index in indices.items()}
        for name in values:
            gate = KNOBS[name].idle_without
            if gate is not None and not values.get(gate, getattr(BASELINE, gate)):
                values[name] = self._nearest(name, KNOBS[name].default)
        return Configuration(**values)

    def indices(self, configuration: Configuration) -> dict[str, int]:
        """Return the position of each knob's nearest level.

        Args:
            configuration: Any configuration, which need not lie on the ladders.
        """
        return {name: values.index(self._nearest(name, getattr(configuration, name))) for name, values in self.levels.items()}

    def seeds(self) -> tuple[Configuration, ...]:
        """Return the configurations to begin with.

        Throughput grows with the budget until something else is the limit, and workers are that something else. So the
        largest budget is tried with many workers and with few, and then a middle one.
        """
        workers, budgets = self.levels["num_workers"], self.levels["token_budget"]
        few = self._nearest("num_workers", 2) if len(workers) > 3 else workers[min(1, len(workers) - 1)]
        middle_budget = budgets[len(budgets) * 2 // 3]
        middle_workers = workers[len(workers) // 2]
        found = (
            self._seed(workers[-1], budgets[-1]),
            self._seed(few, budgets[-1]),
            self._seed(middle_workers, middle_budget),
        )
        return tuple(dict.fromkeys(found))

    def _seed(self, num_workers: int, token_budget: int) -> Configuration:
        buffers = self.levels["buffer_size"]
        wanted = _PACKS_IN_BUFFER * token_budget / self.mean_tokens
        buffer_size = next((size for size in buffers if size >= wanted), buffers[-1])
        model = {name: values[0] for name, values in self.levels.items() if KNOBS[name].needs_new_model}
        prefetch = self._nearest("prefetch_factor", BASELINE.prefetch_factor)
        return Configuration(num_workers, prefetch, token_budget, buffer_size, **model)

    def _nearest(self, name: str, value: Any) -> Any:
        values = self.levels[name]
        if value in values:
            return value
        if not isinstance(value, int):
            return values[0]
        return min(values, key=lambda level: abs(math.log((1 + level) / (1 + value))))
