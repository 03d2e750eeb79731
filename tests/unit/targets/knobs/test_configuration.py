# SPDX-License-Identifier: MIT
import copy
import json
import pickle

import pytest

from tests.support.toy_knobs import TOY
from virnuc_profiler.errors import TelemetryFormatError, UsageError
from virnuc_profiler.sweep.plan.steps import STEP_NAMES, STEPS, in_order, plan
from virnuc_profiler.targets.knobs.configuration import BASELINE, BUILTIN_KNOBS, Configuration, KnobSet
from virnuc_profiler.targets.knobs.knob import IntegerKnob


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
        "grid_sweep.json",
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


def test_a_configuration_holds_the_knobs_of_any_target():
    one = Configuration(16, compile=True, knobs=TOY)
    assert (one.batch_size, one["compile"], one.mode, one.get("num_workers", 7)) == (16, True, "plain", 7)
    assert str(one) == "batch_size=16, compile=true, mode=plain"
    assert str(KnobSet("toy", ()).baseline) == "the defaults"
    assert one.run_id == "tune_batch_size=16_compile=true_mode=plain"
    assert one.replace(batch_size=4, compile=False) == TOY.baseline
    assert Configuration.from_json(json.loads(json.dumps(one.to_json())), TOY) == one
    with pytest.raises(
        ValueError, match="'token_budget' is not a knob of toy; the knobs are batch_size, compile, mode"
    ):
        one.replace(token_budget=4096)
    with pytest.raises(AttributeError, match="no 'token_budget'"):
        _ = one.token_budget


@pytest.mark.parametrize("one", [BASELINE, Configuration(16, knobs=TOY)], ids=["builtin", "toy"])
def test_a_configuration_is_a_value(one):
    for copied in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one)), one.replace()):
        assert (copied, hash(copied)) == (one, hash(one))
    with pytest.raises(AttributeError, match="does not change"):
        one.batch_size = 1
    with pytest.raises(AttributeError, match="does not change"):
        del one.batch_size


def test_equal_values_of_different_targets_are_different_configurations():
    other = KnobSet("other", TOY.knobs)
    assert TOY.baseline != other.baseline
    assert TOY.baseline.values() == other.baseline.values()


def test_values_by_place_are_not_more_than_the_knobs_nor_given_twice():
    with pytest.raises(TypeError, match="6 values for the 5 knobs"):
        Configuration(1, 1, 3, 1, None, 1)
    with pytest.raises(TypeError, match="num_workers has two values, 1 and 2"):
        Configuration(1, num_workers=2)


@pytest.mark.parametrize("knobs", [BUILTIN_KNOBS, TOY], ids=lambda one: one.target)
def test_a_set_of_knobs_survives_json(knobs):
    read = KnobSet.from_json(json.loads(json.dumps(knobs.to_json())))
    assert read == knobs
    assert hash(read) == hash(knobs)
    assert list(read) == list(knobs)


def test_files_that_name_no_target_are_of_the_built_in_one():
    assert KnobSet.from_json(None) is BUILTIN_KNOBS
    with pytest.raises(TelemetryFormatError, match="its target cannot be read"):
        KnobSet.from_json({"name": "toy", "knobs": [{"kind": "float"}]})
    with pytest.raises(TelemetryFormatError, match="its target cannot be read"):
        KnobSet.from_json({"name": 7, "knobs": []})


@pytest.mark.parametrize("name", ["values", "knobs", "batch_size"])
def test_a_name_that_is_taken_is_refused(name):
    with pytest.raises(ValueError, match=f"{name!r}: it is taken"):
        KnobSet("toy", (*TOY.knobs, IntegerKnob(name=name, default=1, low=1, high=2)))


def test_a_knob_cannot_depend_on_one_that_is_not_there():
    with pytest.raises(ValueError, match="prefetch depends on 'workers'"):
        KnobSet("toy", (IntegerKnob(name="prefetch", default=1, low=1, high=2, idle_without="workers"),))


def test_a_target_in_a_file_has_the_same_name_in_another_folder():
    assert KnobSet("/home/a/mine.py:make", ()) == KnobSet("b/mine.py:make", ())
    assert KnobSet("mine:make", ()).target == "mine:make"


def test_the_name_of_a_run_fits_a_file_name_however_many_knobs_there_are():
    knobs = KnobSet("toy", tuple(IntegerKnob(name=f"a_knob_{n}", default=1, low=1, high=9) for n in range(40)))
    first, second = knobs.baseline.run_id, knobs.baseline.replace(a_knob_39=2).run_id
    assert len(first) == len(second) <= 160
    assert first != second
