# SPDX-License-Identifier: MIT
"""What a knob owns, for each kind, and a sweep that varies a knob of the model."""

import pytest

from virnuc_profiler.inference.placement import PRECISIONS
from virnuc_profiler.sweep.plan.conditions import VARIED, Conditions
from virnuc_profiler.sweep.plan.steps import default_values_text, plan
from virnuc_profiler.targets.knobs.configuration import BASELINE, BUILTIN_KNOBS, Configuration
from virnuc_profiler.targets.knobs.knob import IntegerKnob

PRECISION = BUILTIN_KNOBS["precision"]
LATER = IntegerKnob(name="x", default=7, low=1, high=9, code="x", heading="X", part="loader", help="an x", since="1.9")


def test_a_knob_is_defined_once_and_named_by_its_field():
    assert list(BUILTIN_KNOBS)[:5] == ["num_workers", "prefetch_factor", "token_budget", "buffer_size", "precision"]
    assert [knob.option for knob in BUILTIN_KNOBS.values()][:5:4] == ["--num-workers", "--precision"]
    assert BUILTIN_KNOBS.model_knobs[0] == "precision"
    assert {getattr(BASELINE, name) == knob.default for name, knob in BUILTIN_KNOBS.items()} == {True}


def test_the_choices_of_precision_are_those_of_the_model():
    assert set(PRECISION.choices) == set(PRECISIONS)


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("num_workers", "0,1, 4", (0, 1, 4)),
        ("precision", "bf16, fp8", ("bf16", "fp8")),
        ("precision", "fp32", ("fp32",)),
    ],
)
def test_a_list_is_read(name, text, values):
    assert BUILTIN_KNOBS[name].parse_list(text) == values


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("precision", "fp64", "precision is 'fp64'; it must be one of fp16, bf16, fp32, fp8"),
        ("precision", "bf16,,fp32", "precision is ''; it must be one of"),
        ("precision", "bf16,bf16", "'bf16,bf16' names bf16 twice"),
        ("num_workers", "2,two", "'two' is not a whole number"),
        ("num_workers", "2,2048", "num_workers is 2048; it must be a whole number from 0 to 1,024"),
    ],
)
def test_a_wrong_list_is_refused(name, text, words):
    with pytest.raises(ValueError, match=words):
        BUILTIN_KNOBS[name].parse_list(text)


@pytest.mark.parametrize("name", ["token_budget", "precision"])
def test_one_value_is_no_list(name):
    with pytest.raises(ValueError, match="only sweep takes lists"):
        BUILTIN_KNOBS[name].parse("1,2")


def test_only_a_knob_whose_default_is_none_can_be_none():
    assert PRECISION.check(None) is None
    with pytest.raises(ValueError, match="num_workers is None"):
        BUILTIN_KNOBS["num_workers"].check(None)


def test_an_unknown_knob_is_refused_with_those_that_exist():
    with pytest.raises(
        ValueError, match=r"'workers' is not a knob of the sweep; the knobs are num_workers, .*precision"
    ):
        BUILTIN_KNOBS.require("workers")


def test_what_is_unset_is_in_no_file_and_no_run_id():
    assert BASELINE.to_json() == {"num_workers": 4, "prefetch_factor": 4, "token_budget": 4096, "buffer_size": 2000}
    varied = BASELINE.replace(precision="bf16")
    assert varied.run_id == f"{BASELINE.run_id}_bf16"
    assert Configuration.from_json(varied.to_json()) == varied
    assert Configuration.from_json(BASELINE.to_json()) == BASELINE


def test_a_later_knob_is_written_only_where_it_differs_from_its_default():
    assert (LATER.is_written(7), LATER.is_written(8)) == (False, True)
    assert (LATER.run_id_part(7), LATER.run_id_part(8)) == ("", "8x")
    assert BUILTIN_KNOBS["num_workers"].is_written(4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_workers": None}, "num_workers is None"),
        ({"lanes": 2}, "'lanes' is not a knob"),
        ({"precision": 8}, "is 8;"),
    ],
)
def test_a_config_of_another_form_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Configuration.from_json({**BASELINE.to_json(), **change})


def test_a_config_without_a_first_knob_is_refused():
    values = BASELINE.to_json()
    del values["token_budget"]
    with pytest.raises(ValueError, match="token_budget is missing"):
        Configuration.from_json(values)


def test_each_part_of_a_run_gets_its_own_arguments():
    configuration = BASELINE.replace(precision="bf16")
    assert configuration.arguments("loader") == {"num_workers": 4, "prefetch_factor": 4}
    assert configuration.arguments("collator") == {"max_tokens_per_batch": 4096, "buffer_size": 2000}
    assert configuration.arguments("model") == {"precision": "bf16"}
    assert BASELINE.arguments("model") == {}


def test_a_varied_precision_is_the_slowest_dimension_of_every_grid_and_the_baseline_has_its_first_value():
    steps = plan({"precision": ["fp32", "bf16"], "buffer_size": [500]})
    assert steps["baseline"].configurations() == (BASELINE.replace(precision="fp32"),)
    assert [len(step.configurations()) for step in steps.values()] == [1, 18, 6, 12, 0, 0, 0]
    found = [(c.precision, c.token_budget) for c in steps["packing"].configurations()]
    assert found == [(p, t) for p in ("fp32", "bf16") for t in (2048, 4096, 8192)]
    assert list(steps["packing"].grid) == ["precision", "token_budget", "buffer_size"]


def test_help_names_the_values_that_are_tried_by_default():
    assert default_values_text("num_workers") == "2,4,8; 4,8 in interaction"
    assert default_values_text("token_budget") == "2048,4096,8192"
    assert PRECISION.full_help(default_values_text("precision")) == (
        "precision of the model (one of fp16, bf16, fp32, fp8; default: fp16 on a GPU, fp32 on a CPU)"
    )


def test_what_a_varied_knob_changes_is_no_other_condition():
    def conditions(precision, weights="w"):
        model = {"model_name": "m", "weights": weights, "precision": precision, "bytes_per_token": 4.0}
        return Conditions({}, {}, model, {}).with_varied(["precision"])

    assert conditions("fp32").model == {
        "model_name": "m", "weights": "w", "precision": VARIED, "bytes_per_token": None,
    }  # fmt: skip
    assert conditions("fp32").differences(conditions("bf16")) == []
    assert [str(found) for found in conditions("fp32", "other").differences(conditions("fp32"))] == [
        'model.weights was "w" and is now "other"'
    ]
    fixed = Conditions({}, {}, {"model_name": "m", "weights": "w", "precision": "fp32"}, {})
    assert [found.name for found in conditions("fp32").differences(fixed)] == ["model.precision"]
