# SPDX-License-Identifier: MIT
"""The steps of a sweep: what each measures, and the file that it writes.

Four steps measure grids, or a search proposes what to measure in their place. The confirmation compares what they found
with the baseline, and the validation runs the recommended configuration on more sequences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Final

from virnuc_profiler.errors import TelemetryFormatError, UsageError
from virnuc_profiler.targets.knobs.configuration import BASELINE, BUILTIN_KNOBS, Configuration
from virnuc_profiler.targets.knobs.knob import KnobValue

MIN_PACKING: Final = 0.90
"""Packing efficiency that the packing steps require of their best configuration, if one reaches it."""

VALIDATION_FACTOR: Final = 2.5
"""The validation runs this many times the sequences of the other steps: 5,000 for 2,000."""

Grid = Mapping[str, tuple[KnobValue, ...]]
"""Values to try, by the name of the knob; the first knob varies slowest."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        name: Name, as ``--steps`` takes it.
        file_name: Name of its result file in the sweep's folder.
        grid: Values of the knobs that it varies; the other knobs have the values of `base`.
        min_packing: Packing efficiency that its best configuration must reach, if one does; None if any will do.
        base: Configuration whose knobs the grid varies.
        follows: Whether its configurations follow from the steps before, so that a plan does not name them.
    """

    name: str
    file_name: str
    grid: Grid = field(default_factory=dict)
    min_packing: float | None = None
    base: Configuration = BASELINE
    follows: bool = False

    def configurations(self) -> tuple[Configuration, ...]:
        """Return what a plan knows that the step measures, in order; the last knob of the grid varies fastest.

        A knob that has no effect in a configuration, such as the prefetch factor without workers, keeps its first
        value there.
        """
        if self.follows:
            return ()
        found = (self.base.replace(**dict(zip(self.grid, values, strict=True))) for values in self._points())
        return tuple(configuration for configuration in found if not self._repeats(configuration))

    def _points(self) -> product[Any]:
        return product(*self.grid.values())

    def _repeats(self, configuration: Configuration) -> bool:
        return any(
            (gate := BUILTIN_KNOBS[name].idle_without) is not None
            and not getattr(configuration, gate)
            and getattr(configuration, name) != values[0]
            for name, values in self.grid.items()
        )


STEPS: Final = (
    Step("baseline", "baseline.json"),
    Step("dataloader", "dataloader_sweep.json", {"num_workers": (2, 4, 8), "prefetch_factor": (2, 4, 8)}),
    Step(
        "packing",
        "packing_sweep.json",
        {"token_budget": (2048, 4096, 8192), "buffer_size": (500, 1000, 2000)},
        MIN_PACKING,
    ),
    Step(
        "interaction",
        "interaction_sweep.json",
        {"num_workers": (4, 8), "token_budget": (2048, 4096, 8192)},
        MIN_PACKING,
    ),
    Step("search", "search.json", min_packing=MIN_PACKING, follows=True),
    Step("confirmation", "confirmation.json", min_packing=MIN_PACKING, follows=True),
    Step("validation", "optimal_validation.json", min_packing=MIN_PACKING, follows=True),
)
SEARCH: Final = "search"
ALL_STEPS: Final = tuple(step.name for step in STEPS)
STEP_NAMES: Final = tuple(name for name in ALL_STEPS if name != SEARCH)
"""Names of the steps of a sweep without a search."""
SEARCH_STEPS: Final = ("baseline", SEARCH, "confirmation", "validation")
"""Names of the steps of a sweep with a search."""
GRID_STEPS: Final = tuple(step.name for step in STEPS if not step.follows)
"""Names of the steps whose configurations are planned."""
RANKED_STEPS: Final = tuple(step.name for step in STEPS if step.name not in ("confirmation", "validation"))
"""Names of the steps whose results compete for the recommendation."""
BEST_CONFIG_FILE: Final = "best_config.json"


_PLACED: Final = frozenset(name for step in STEPS for name in step.grid)
"""Knobs that a step varies by default. Any other knob is varied only by a list, and then in every step."""


def plan(values: Mapping[str, Sequence[Any]] | None = None, min_packing: float | None = None) -> dict[str, Step]:
    """Return the steps by name, in order, with the given lists in place of the default ones.

    A knob that no step varies by default becomes a slow dimension of every step that has a grid. Those of the model are
    the slowest, so that it is seldom loaded again. The baseline has the first value of each.

    Args:
        values: Lists of values by the name of the knob.
        min_packing: Packing efficiency that every step requires of its best; None for what each requires by default.

    Raises:
        ValueError: A knob does not exist, its list is empty, or it cannot have one of the values.
    """
    given = {name: BUILTIN_KNOBS.require(name).check_list(chosen) for name, chosen in (values or {}).items()}
    unplaced = sorted(
        (name for name in given if name not in _PLACED), key=lambda name: not BUILTIN_KNOBS[name].needs_new_model
    )
    everywhere = {name: given[name] for name in unplaced}
    first_values: dict[str, Any] = {name: chosen[0] for name, chosen in everywhere.items()}
    base = BASELINE.replace(**first_values)
    return {
        step.name: replace(
            step,
            base=base,
            min_packing=step.min_packing if min_packing is None else min_packing,
            grid={**everywhere, **{name: given.get(name, own) for name, own in step.grid.items()}} if step.grid else {},
        )
        for step in STEPS
    }


def grid_from_json(values: Mapping[str, Any]) -> Grid:
    """Read the lists of a grid.

    Raises:
        TelemetryFormatError: A knob is unknown, or cannot have one of its values.
    """
    try:
        return {name: BUILTIN_KNOBS.require(name).check_list(chosen) for name, chosen in values.items()}
    except (TypeError, ValueError) as error:
        raise TelemetryFormatError(f"its grid cannot be read: {error}") from None


def default_values_text(name: str) -> str:
    """Return the values of a knob that a sweep tries by default, such as ``2,4,8; 4,8 in interaction``."""
    tried = {step.name: step.grid[name] for step in STEPS if name in step.grid}
    if not tried:
        return BUILTIN_KNOBS[name].text(BUILTIN_KNOBS[name].default)
    usual = Counter(tried.values()).most_common(1)[0][0]
    others = (f"; {_listed(name, values)} in {step}" for step, values in tried.items() if values != usual)
    return "".join([_listed(name, usual), *others])


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Return the chosen steps in the order in which they run.

    Args:
        names: The chosen steps, in any order.

    Raises:
        UsageError: A step does not exist or is given twice, or none is given.
    """
    for number, name in enumerate(names):
        if name not in ALL_STEPS:
            raise UsageError(f"step {name!r} does not exist; the steps are {', '.join(STEP_NAMES)}")
        if name in names[:number]:
            raise UsageError(f"step {name!r} is given twice")
    if not names:
        raise UsageError(f"no steps are given; the steps are {', '.join(STEP_NAMES)}")
    return tuple(name for name in ALL_STEPS if name in names)


def _listed(name: str, values: Sequence[KnobValue]) -> str:
    return ",".join(map(BUILTIN_KNOBS[name].text, values))
