# SPDX-License-Identifier: MIT
"""The steps of a target that has its own knobs."""

import pytest

from tests.support.toy_knobs import TOY
from virnuc_profiler.sweep.plan.budgets import check_budgets
from virnuc_profiler.sweep.plan.cheapest import cheapest
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.steps import MAX_GRID, MIN_PACKING, plan, steps_of_target, uncrossed_note
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, Configuration, KnobSet
from virnuc_profiler.targets.knobs.knob import IntegerKnob

STEPS = ("baseline", "grid", "confirmation", "validation")


def grid_of(values=None, knobs=TOY):
    return plan(values, knobs=knobs)["grid"]


def test_a_target_has_one_grid_of_the_values_that_it_tries():
    steps = plan(knobs=TOY)
    assert steps_of_target(TOY) == STEPS
    assert [name for name in steps if name != "search"] == list(STEPS)
    assert steps["baseline"].configurations() == (TOY.baseline,)
    assert steps["grid"].grid == {"batch_size": (4, 16), "mode": ("plain", "fast")}
    found = [(one.batch_size, one.mode, one.compile) for one in steps["grid"].configurations()]
    assert found == [(size, mode, False) for size in (4, 16) for mode in ("plain", "fast")]
    assert "grid" not in plan()


def test_a_list_replaces_what_is_tried_and_one_value_holds_everywhere():
    steps = plan({"batch_size": [8], "compile": [False, True]}, knobs=TOY)
    assert steps["baseline"].configurations() == (TOY.baseline.replace(batch_size=8),)
    assert steps["grid"].grid == {"compile": (False, True), "mode": ("plain", "fast")}
    assert {one.batch_size for one in steps["grid"].configurations()} == {8}


def test_a_grid_that_is_too_large_varies_one_knob_after_the_other_and_says_so():
    step = grid_of({"batch_size": range(1, 40), "mode": ["plain", "fast"]})
    assert MAX_GRID < 39 * 2
    found = step.configurations()
    assert len(found) == 39 + 1  # the baseline is in both lists, and measured once
    assert all(one.mode == "plain" or one.batch_size == 4 for one in found)
    assert "batch_size, mode have 78 combinations, more than 64" in uncrossed_note(step)
    assert uncrossed_note(grid_of()) == ""


def test_a_knob_without_effect_keeps_its_value():
    knobs = KnobSet(
        "toy",
        (
            IntegerKnob(name="num_workers", default=2, low=0, high=8, tries=(0, 2)),
            IntegerKnob(name="prefetch", default=4, low=1, high=8, tries=(2, 4), idle_without="num_workers"),
        ),
    )
    assert [tuple(one.values().values()) for one in grid_of(knobs=knobs).configurations()] == [(0, 2), (2, 2), (2, 4)]


@pytest.mark.parametrize(
    ("usual", "wanted", "required"), [(MIN_PACKING, None, 0.9), (None, None, None), (0.5, None, 0.5), (None, 0.8, 0.8)]
)
def test_packing_is_required_unless_the_target_has_opted_out(usual, wanted, required):
    objective = Objective(min_packing=wanted, usual_packing=usual)
    steps = plan(min_packing=wanted, knobs=TOY, usual_packing=usual)
    assert steps["grid"].min_packing == steps["validation"].min_packing == objective.required_packing == required
    assert Objective.from_json(objective.to_json()) == objective


def test_the_objective_of_the_built_in_target_is_written_as_before():
    assert set(Objective().to_json()) == {"kind", "sequences", "min_packing", "max_memory_gb"}


def test_budgets_of_other_targets_are_their_own_matter(tmp_path):
    knobs = KnobSet("toy", (IntegerKnob(name="token_budget", default=8, low=1, high=9),))
    long = Workload(tmp_path / "x.fasta", "sha256:aa", 1, 1, 100, 100, "file")
    check_budgets(plan(knobs=knobs), STEPS, long, long)


def test_the_cheapest_of_equals_has_the_fewest_workers_then_memory_then_changes():
    few, many = Configuration(knobs=TOY), Configuration(16, mode="fast", knobs=TOY)
    assert cheapest([many, few], {}) == few
    assert cheapest([many, few], {few: 2.0, many: 1.0}) == many
    workers = KnobSet("toy", (IntegerKnob(name="num_workers", default=4, low=0, high=8),))
    none = workers.baseline.replace(num_workers=0)
    assert cheapest([workers.baseline, none], {none: 9.0, workers.baseline: 1.0}) == none
    assert cheapest([Configuration(2, 4, 4096, 2000), BUILTIN_KNOBS.baseline], {}).num_workers == 2
