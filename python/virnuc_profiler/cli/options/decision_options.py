# SPDX-License-Identifier: MIT
"""Options on what a sweep minimizes, how often it measures, and whether it confirms what it has found."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from virnuc_profiler.cli.options.arguments import number, whole
from virnuc_profiler.cli.options.search_options import ADAPTIVE, GRID
from virnuc_profiler.errors import UsageError
from virnuc_profiler.sweep.plan.objective import ENERGY, OBJECTIVES, TIME, Objective
from virnuc_profiler.sweep.plan.steps import MIN_PACKING, SEARCH, Grid, Step, in_order, plan
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, KnobSet
from virnuc_profiler.targets.knobs.target_facts import TargetFacts
from virnuc_profiler.telemetry.rates import PROJECTED_SEQUENCES

if TYPE_CHECKING:
    from virnuc_profiler.sweep.plan.request import Request
    from virnuc_profiler.sweep.plan.workload import Workload
    from virnuc_profiler.sweep.results.sweep_plan import SweepPlan


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a sweep measures, and how it decides.

    Attributes:
        steps: Names of the steps, in order.
        grid: Lists of values that replace the default ones.
        objective: What is minimized.
        repeats: Number of blocks in which each step measures its configurations.
        budget_sec: Seconds that a search may take with all that follows; None for no limit.
        knobs: Knobs of the target.
    """

    steps: tuple[str, ...]
    grid: Grid
    objective: Objective
    repeats: int
    budget_sec: float | None = None
    knobs: KnobSet = BUILTIN_KNOBS

    @property
    def planned_steps(self) -> dict[str, Step]:
        """All steps of the target by name, with the lists and the packing efficiency of this sweep."""
        return plan(self.grid, self.objective.min_packing, self.knobs, self.objective.usual_packing)

    def plan(self, request: Request, workload: Workload, validation: Workload) -> SweepPlan:
        """Return the plan of a sweep.

        Args:
            request: What is asked for.
            workload: Workload of all steps but the validation.
            validation: Workload of the validation.
        """
        from virnuc_profiler.sweep.plan.request import options_of
        from virnuc_profiler.sweep.results.sweep_plan import SweepPlan  # needs NumPy, which --help does not

        return SweepPlan(
            self.steps,
            self.grid,
            workload,
            validation,
            options_of(request),
            repeats=self.repeats,
            seed=request.seed,
            objective=self.objective,
            budget_sec=self.budget_sec,
            knobs=self.knobs,
        )


def add_decision_options(parser: argparse.ArgumentParser) -> None:
    """Add the options.

    Args:
        parser: Parser of ``sweep``.
    """
    group = parser.add_argument_group("decision")
    group.add_argument(
        "--objective", choices=OBJECTIVES, default=TIME,
        help="what the best configuration has least of: predicted time of the job, or joules per sequence where the "
        f"device counts energy (default: {TIME})",
    )  # fmt: skip
    group.add_argument(
        "--for-sequences", type=whole(1), default=PROJECTED_SEQUENCES, metavar="N",
        help="sequences of the job whose time is predicted: one start-up, then the steady rate "
        f"(default: {PROJECTED_SEQUENCES})",
    )  # fmt: skip
    group.add_argument(
        "--min-packing", type=number(at_least=0, at_most=1), metavar="P",
        help="packing efficiency that every step requires of its best configuration, if one reaches it (default: "
        f"{MIN_PACKING:g} in packing, interaction and validation; other targets may have no such rule)",
    )  # fmt: skip
    group.add_argument(
        "--max-memory-gb", type=number(above=0), metavar="GB",
        help="peak device memory that the best configuration may need (1 GB = 10^9 bytes; default: any)",
    )  # fmt: skip
    group.add_argument(
        "--repeats", type=whole(1), default=1, metavar="N",
        help="blocks in which each step measures all of its configurations, in random order and with the baseline; "
        "5 can show differences, 3 ties (default: 1)",
    )  # fmt: skip
    group.add_argument(
        "--no-confirm", action="store_true",
        help="skip the confirmation, which compares the best, the runner-up and the baseline in blocks, in at most a "
        "third of the time of the steps before",
    )  # fmt: skip


def objective_of(arguments: argparse.Namespace, facts: TargetFacts) -> Objective:
    """Return what the options ask to minimize.

    Args:
        arguments: All options.
        facts: What is known of the target, which may have another rule on packing.
    """
    return Objective(
        arguments.objective,
        arguments.for_sequences,
        arguments.min_packing,
        arguments.max_memory_gb,
        facts.usual_packing(MIN_PACKING),
    )


def steps_of(names: Sequence[str], *, confirm: bool) -> tuple[str, ...]:
    """Return the steps that run: a confirmation precedes each validation unless it is not wanted.

    Args:
        names: The chosen steps.
        confirm: Whether the best configuration is to be confirmed.

    Raises:
        UsageError: Nothing is left.
    """
    chosen = [name for name in names if name != "confirmation" or confirm]
    if not chosen:
        raise UsageError("--no-confirm leaves nothing of --steps confirmation: leave one of them out")
    if confirm and "validation" in chosen and "confirmation" not in chosen:
        chosen.append("confirmation")
    return in_order(chosen)


def recorded_decisions(
    objective: Objective,
    repeats: int,
    steps: Sequence[str],
    given: Mapping[str, Any],
    budget_sec: float | None = None,
) -> dict[str, Any]:
    """Return the values that these options had, as a resumed sweep compares them.

    Args:
        objective: Objective of the sweep.
        repeats: Its number of blocks.
        steps: Its steps.
        given: Options that were given now, by name.
        budget_sec: Its limit of time; None for none.
    """
    confirmed = "confirmation" in steps
    known = {
        "objective": objective.kind,
        "for_sequences": objective.sequences,
        "min_packing": objective.min_packing,
        "max_memory_gb": objective.max_memory_gb,
        "repeats": repeats,
        "no_confirm": not confirmed,
        "search": ADAPTIVE if SEARCH in steps else GRID,
        "budget_minutes": None if budget_sec is None else budget_sec / 60,
    }
    if "steps" in given:
        chosen = given["steps"]
        known["steps"] = chosen if steps_of(chosen, confirm=confirmed) == tuple(steps) else tuple(steps)
    return known


def require_energy(objective: Objective, device_type: str) -> None:
    """Refuse to minimize energy where no counter can exist.

    Args:
        objective: What is minimized.
        device_type: ``cpu`` or ``cuda``.

    Raises:
        UsageError: The energy of a CPU is to be minimized.
    """
    if objective.kind == ENERGY and device_type == "cpu":
        raise UsageError(
            "--objective energy needs a GPU with an energy counter, and this sweep would run on the CPU: leave it out"
        )
