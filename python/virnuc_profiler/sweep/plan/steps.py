# SPDX-License-Identifier: MIT
"""The five steps of a sweep: what each measures, and the file that it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Final

from virnuc_profiler.errors import UsageError
from virnuc_profiler.sweep.plan.configuration import BASELINE, Configuration, check_setting

MIN_PACKING: Final = 0.90
"""Packing efficiency that a packing is wanted to have."""

VALIDATION_FACTOR: Final = 2.5
"""The validation runs this many times the sequences of the other steps: 5,000 for 2,000."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        name: as ``--steps`` has it.
        file_name: of its result in the sweep's folder.
        grid: values of the settings that it varies, the others being the baseline's.
        min_packing: packing efficiency that its best must have, if one has it.
    """

    name: str
    file_name: str
    grid: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    min_packing: float | None = None

    def configurations(self) -> tuple[Configuration, ...]:
        """What it measures, in order; the last setting varies fastest.

        The prefetch factor does nothing without workers, and does not vary there.
        """
        found = (
            replace(BASELINE, **dict(zip(self.grid, values, strict=True))) for values in product(*self.grid.values())
        )
        min_prefetch = self.grid.get("prefetch_factor", (BASELINE.prefetch_factor,))[0]
        return tuple(one for one in found if one.num_workers or one.prefetch_factor == min_prefetch)


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
    Step("validation", "optimal_validation.json", min_packing=MIN_PACKING),
)
STEP_NAMES: Final = tuple(step.name for step in STEPS)
BEST_CONFIG_FILE: Final = "best_config.json"


def plan(values: Mapping[str, Sequence[int]] | None = None) -> dict[str, Step]:
    """The five steps by name, in order, with lists of values that replace those of every step that varies them.

    Raises:
        ValueError: a setting that does not exist, an empty list, or a value out of range.
    """
    given = {name: _checked(name, chosen) for name, chosen in (values or {}).items()}
    return {
        step.name: replace(step, grid={name: given.get(name, default) for name, default in step.grid.items()})
        for step in STEPS
    }


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """The chosen steps in the order in which they run.

    Raises:
        UsageError: a name that is no step, twice the same, or none at all.
    """
    for number, name in enumerate(names):
        if name not in STEP_NAMES:
            raise UsageError(f"step {name!r} does not exist; the steps are {', '.join(STEP_NAMES)}")
        if name in names[:number]:
            raise UsageError(f"step {name!r} is given twice")
    if not names:
        raise UsageError(f"no steps are given; the steps are {', '.join(STEP_NAMES)}")
    return tuple(name for name in STEP_NAMES if name in names)


def _checked(name: str, values: Sequence[int]) -> tuple[int, ...]:
    if name not in BASELINE.as_dict():
        raise ValueError(f"{name!r} is no setting of the sweep; these are: {', '.join(BASELINE.as_dict())}")
    if not values:
        raise ValueError(f"{name} has no values to try")
    return tuple(check_setting(name, value) for value in values)
