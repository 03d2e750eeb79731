# SPDX-License-Identifier: MIT

import pytest

from virnuc_profiler.errors import UsageError
from virnuc_profiler.sweep.plan.steps import STEP_NAMES, STEPS, in_order, plan
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration


def test_the_baseline_is_named_by_its_settings():
    assert (BASELINE.num_workers, BASELINE.prefetch_factor, BASELINE.token_budget, BASELINE.buffer_size) == (
        4,
        4,
        4096,
        2000,
    )
    assert BASELINE.run_id == "tune_4w_4pf_4096tb_2000bs"
    assert str(BASELINE) == "num_workers=4, prefetch_factor=4, token_budget=4096, buffer_size=2000"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_workers", -1),
        ("num_workers", 1025),
        ("prefetch_factor", 0),
        ("token_budget", 2),
        ("token_budget", 2**31),
        ("buffer_size", 0),
        ("buffer_size", "many"),
        ("buffer_size", 10.0),
        ("num_workers", True),
        ("num_workers", None),
    ],
)
def test_a_wrong_value_is_refused_by_name_value_and_range(name, value):
    with pytest.raises(ValueError, match=rf"^{name} is {value!r}; it must be a whole number from \d+ to ") as caught:
        BASELINE.replace(**{name: value})
    assert "\n" not in str(caught.value)


def test_the_smallest_values_are_allowed():
    assert Configuration(0, 1, 3, 1).run_id == "tune_0w_1pf_3tb_1bs"


def test_the_grids_are_those_of_the_specification():
    steps = plan()
    assert [len(step.configurations()) for step in steps.values()] == [1, 9, 9, 6, 0, 0, 0]
    by_workers = [(c.num_workers, c.prefetch_factor) for c in steps["dataloader"].configurations()]
    assert by_workers == [(w, p) for w in (2, 4, 8) for p in (2, 4, 8)]
    by_budget = [(c.token_budget, c.buffer_size) for c in steps["packing"].configurations()]
    assert by_budget == [(t, b) for t in (2048, 4096, 8192) for b in (500, 1000, 2000)]
    crossed = [(c.num_workers, c.token_budget) for c in steps["interaction"].configurations()]
    assert crossed == [(w, t) for w in (4, 8) for t in (2048, 4096, 8192)]
    assert {(c.prefetch_factor, c.buffer_size) for c in steps["interaction"].configurations()} == {(4, 2000)}
    assert [step.file_name for step in STEPS] == [
        "baseline.json",
        "dataloader_sweep.json",
        "packing_sweep.json",
        "interaction_sweep.json",
        "search.json",
        "confirmation.json",
        "optimal_validation.json",
    ]


def test_a_given_list_holds_in_every_step_that_varies_it():
    steps = plan({"num_workers": [0, 1], "token_budget": [2048]})
    assert steps["dataloader"].grid == {"num_workers": (0, 1), "prefetch_factor": (2, 4, 8)}
    assert steps["interaction"].grid == {"num_workers": (0, 1), "token_budget": (2048,)}
    assert steps["packing"].grid["token_budget"] == (2048,)
    assert steps["baseline"].configurations() == (BASELINE,)


@pytest.mark.parametrize("values", [{"workers": [1]}, {"num_workers": []}, {"token_budget": [2048, 0]}])
def test_a_wrong_grid_is_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        plan(values)


def test_steps_run_in_their_own_order():
    assert in_order(["validation", "baseline", "packing"]) == ("baseline", "packing", "validation")


@pytest.mark.parametrize("names", [["tuning"], ["packing", "packing"], []])
def test_wrong_steps_are_refused_and_the_right_ones_named(names):
    with pytest.raises(UsageError) as caught:
        in_order(names)
    assert names[:1] == ["packing"] or all(name in str(caught.value) for name in STEP_NAMES)
