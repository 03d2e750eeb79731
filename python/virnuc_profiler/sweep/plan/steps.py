# SPDX-License-Identifier: MIT
"""The steps of a sweep: what each measures, and the file that it writes.

Of the built-in target, four steps measure grids; of any other one, the baseline and one grid over its own knobs. A
search may propose what to measure in their place. The confirmation compares what they found with the baseline, and the
validation runs the recommended configuration on more sequences.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Final

from virnuc_profiler.errors import TelemetryFormatError, UsageError
from virnuc_profiler.targets.knobs.configuration import BASELINE, BUILTIN_KNOBS, Configuration, KnobSet
from virnuc_profiler.targets.knobs.knob import KnobValue

MIN_PACKING: Final = 0.90
"""Packing efficiency that the packing steps require of their best configuration, if one reaches it."""

MAX_GRID: Final = 64
"""Most combinations of the values of a target's knobs that are all measured."""

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
        crossed: Whether all combinations of the values are measured, rather than one knob after the other.
    """

    name: str
    file_name: str
    grid: Grid = field(default_factory=dict)
    min_packing: float | None = None
    base: Configuration = BASELINE
    follows: bool = False
    crossed: bool = True

    def configurations(self) -> tuple[Configuration, ...]:
        """Return what a plan knows that the step measures, in order; the last knob of the grid varies fastest.

        A knob that has no effect in a configuration, such as the prefetch factor without workers, keeps its first
        value there.
        """
        if self.follows:
            return ()
        found = (self.base.replace(**values) for values in self._points())
        return tuple(dict.fromkeys(configuration for configuration in found if not self._repeats(configuration)))

    def _points(self) -> Iterator[dict[str, Any]]:
        if self.crossed:
            yield from (dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values()))
        else:
            yield from ({name: value} for name, values in self.grid.items() for value in values)

    def _repeats(self, configuration: Configuration) -> bool:
        return any(
            (gate := self.base.knobs[name].idle_without) is not None
            and not configuration[gate]
            and configuration[name] != (values[0] if self.crossed else self.base[name])
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
    Step("grid", "grid_sweep.json", min_packing=MIN_PACKING),
    Step("search", "search.json", min_packing=MIN_PACKING, follows=True),
    Step("confirmation", "confirmation.json", min_packing=MIN_PACKING, follows=True),
    Step("validation", "optimal_validation.json", min_packing=MIN_PACKING, follows=True),
)
SEARCH: Final = "search"
GRID: Final = "grid"
ALL_STEPS: Final = tuple(step.name for step in STEPS)
STEP_NAMES: Final = tuple(name for name in ALL_STEPS if name not in (SEARCH, GRID))
"""Names of the steps of a sweep of the built-in target without a search."""
TARGET_STEPS: Final = ("baseline", GRID, "confirmation", "validation")
"""Names of the steps of a sweep of any other target without a search."""
SEARCH_STEPS: Final = ("baseline", SEARCH, "confirmation", "validation")
"""Names of the steps of a sweep with a search."""
GRID_STEPS: Final = tuple(step.name for step in STEPS if not step.follows)
"""Names of the steps whose configurations are planned."""
RANKED_STEPS: Final = tuple(step.name for step in STEPS if step.name not in ("confirmation", "validation"))
"""Names of the steps whose results compete for the recommendation."""
BEST_CONFIG_FILE: Final = "best_config.json"


_PLACED: Final = frozenset(name for step in STEPS for name in step.grid)
"""Knobs that a step varies by default. Any other knob is varied only by a list, and then in every step."""


def steps_of_target(knobs: KnobSet) -> tuple[str, ...]:
    """Return the names of the steps that a sweep without a search has, in order.

    Args:
        knobs: Knobs of its target.
    """
    return STEP_NAMES if knobs.is_builtin else TARGET_STEPS


def plan(
    values: Mapping[str, Sequence[Any]] | None = None,
    min_packing: float | None = None,
    knobs: KnobSet = BUILTIN_KNOBS,
    usual_packing: float | None = MIN_PACKING,
) -> dict[str, Step]:
    """Return the steps by name, in order, with the given lists in place of the default ones.

    Args:
        values: Lists of values by the name of the knob.
        min_packing: Packing efficiency that every step requires of its best; None for what each requires by default.
        knobs: Knobs of the target.
        usual_packing: What is required by default, where a step requires any; None if the target has no such rule.

    Raises:
        ValueError: A knob does not exist, its list is empty, or it cannot have one of the values.
    """
    given = {name: knobs.require(name).check_list(chosen) for name, chosen in (values or {}).items()}
    found = _builtin_plan(given) if knobs.is_builtin else _plan_of_target(given, knobs)
    usual = {step.name: None if step.min_packing is None else usual_packing for step in found}
    return {
        step.name: replace(step, min_packing=usual[step.name] if min_packing is None else min_packing) for step in found
    }


def _builtin_plan(given: Grid) -> list[Step]:
    """Return the steps of the built-in target.

    A knob that no step varies by default becomes a slow dimension of every step that has a grid. Those of the model are
    the slowest, so that it is seldom loaded again. The baseline has the first value of each.
    """
    unplaced = sorted(
        (name for name in given if name not in _PLACED), key=lambda name: not BUILTIN_KNOBS[name].needs_new_model
    )
    everywhere = {name: given[name] for name in unplaced}
    first_values: dict[str, Any] = {name: chosen[0] for name, chosen in everywhere.items()}
    base = BASELINE.replace(**first_values)
    return [
        replace(
            step,
            base=base,
            grid={**everywhere, **{name: given.get(name, own) for name, own in step.grid.items()}} if step.grid else {},
        )
        for step in STEPS
        if step.name != GRID
    ]


def _plan_of_target(given: Grid, knobs: KnobSet) -> list[Step]:
    """Return the steps of a target of its own: one grid over all of its knobs that have several values to try.

    A list of one value holds in every step, the baseline too. The knobs of the model are the slowest.
    """
    lists = {name: given.get(name, knob.tried()) for name, knob in knobs.items()}
    fixed: dict[str, Any] = {name: chosen[0] for name, chosen in given.items() if len(chosen) == 1}
    varied = sorted((name for name in knobs if name not in fixed), key=lambda name: not knobs[name].needs_new_model)
    grid = {name: lists[name] for name in varied if lists[name] != (knobs[name].default,)}
    crossed = math.prod(map(len, grid.values())) <= MAX_GRID
    base = knobs.baseline.replace(**fixed)
    steps = [step for step in STEPS if step.follows or step.name in TARGET_STEPS]
    return [
        replace(step, base=base, grid=grid, crossed=crossed) if step.name == GRID else replace(step, base=base)
        for step in steps
    ]


def uncrossed_note(step: Step) -> str:
    """Return a sentence on a grid that is too large to be measured whole; empty for any other step.

    Args:
        step: The step.
    """
    if step.crossed:
        return ""
    count = math.prod(map(len, step.grid.values()))
    return (
        f"{step.name}: {', '.join(step.grid)} have {count:,} combinations, more than {MAX_GRID}, so one knob after the "
        "other is varied from the baseline; shorter lists allow all combinations, and --search adaptive explores them"
    )


def grid_from_json(values: Mapping[str, Any], knobs: KnobSet = BUILTIN_KNOBS) -> Grid:
    """Read the lists of a grid.

    Args:
        values: The JSON.
        knobs: Knobs of the target.

    Raises:
        TelemetryFormatError: A knob is unknown, or cannot have one of its values.
    """
    try:
        return {name: knobs.require(name).check_list(chosen) for name, chosen in values.items()}
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
