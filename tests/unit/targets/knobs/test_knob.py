# SPDX-License-Identifier: MIT
"""What a knob owns, for each kind, and a sweep that varies a knob of the model."""

import json
from dataclasses import replace

import pytest

from virnuc_profiler.inference.placement import PRECISIONS
from virnuc_profiler.sweep.plan.conditions import VARIED, Conditions
from virnuc_profiler.sweep.plan.steps import default_values_text, plan
from virnuc_profiler.targets.knobs.configuration import BASELINE, BUILTIN_KNOBS, Configuration
from virnuc_profiler.targets.knobs.knob import BooleanKnob, ChoiceKnob, IntegerKnob
from virnuc_profiler.targets.knobs.knob_json import knob_from_json

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
        ValueError, match=r"'workers' is not a knob of the built-in target; the knobs are num_workers, .*precision"
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


BATCH = IntegerKnob(name="batch_size", default=8, low=1, high=512, tries=(4, 8, 16), help="sequences of a batch")
COMPILE = BooleanKnob(name="compile", default=False)
ATTENTION = ChoiceKnob(name="attention", choices=("sdpa", "flash/2"))


def test_a_knob_of_a_target_needs_a_name_a_default_and_a_range():
    assert (BATCH.heading, BATCH.argument, BATCH.part) == ("Batch size", "batch_size", "run")
    assert BATCH.run_id_part(8) == "batch_size=8"
    assert (BATCH.tried(), replace(BATCH, tries=()).tried()) == ((4, 8, 16), (8,))


def test_a_boolean_is_true_or_false_on_the_command_line_in_files_and_in_tables():
    assert COMPILE.parse_list("true, false") == (True, False)
    assert (COMPILE.text(True), COMPILE.run_id_part(True)) == ("true", "compile=true")
    assert COMPILE.tried() == (False, True)
    with pytest.raises(ValueError, match="compile is 'yes'; it must be true or false"):
        COMPILE.parse("yes")
    with pytest.raises(ValueError, match="compile is 1; it must be true or false"):
        COMPILE.check(1)
    with pytest.raises(ValueError, match="batch_size is True"):
        BATCH.check(True)


def test_a_name_in_a_run_id_is_safe_in_a_file_name():
    assert ATTENTION.run_id_part("flash/2") == "attention=flash~2F2"
    assert (ATTENTION.run_id_part(None), ATTENTION.tried()) == ("", ("sdpa", "flash/2"))


@pytest.mark.parametrize(
    ("kind", "attributes", "words"),
    [
        (IntegerKnob, {"name": "batch size", "default": 1, "low": 1, "high": 2}, "cannot be called 'batch size'"),
        (IntegerKnob, {"name": "_size", "default": 1, "low": 1, "high": 2}, "cannot be called '_size'"),
        (IntegerKnob, {"name": "size", "default": 3, "low": 1, "high": 2}, "size is 3; it must be a whole number"),
        (IntegerKnob, {"name": "size", "default": 1, "low": 2, "high": 1}, "size has no values"),
        (IntegerKnob, {"name": "size", "default": 1, "low": 1, "high": 2, "tries": (1, 1)}, "has the value 1 twice"),
        (ChoiceKnob, {"name": "mode", "choices": ()}, "at least one"),
        (ChoiceKnob, {"name": "mode", "choices": ("a", "a")}, "each once"),
        (ChoiceKnob, {"name": "mode", "choices": ("a,b",)}, "without commas"),
        (ChoiceKnob, {"name": "mode", "choices": ("a",), "default": "b"}, "mode is 'b'; it must be one of a"),
        (BooleanKnob, {"name": "compile", "default": 0}, "compile is 0"),
    ],
)
def test_a_knob_that_cannot_work_is_refused_when_it_is_made(kind, attributes, words):
    with pytest.raises(ValueError, match=words):
        kind(**attributes)


@pytest.mark.parametrize("knob", [BATCH, COMPILE, ATTENTION, LATER, *BUILTIN_KNOBS.values()], ids=lambda one: one.name)
def test_a_definition_survives_json(knob):
    assert knob_from_json(json.loads(json.dumps(knob.to_json()))) == knob


def test_attributes_of_a_newer_version_are_left_out():
    assert knob_from_json({**BATCH.to_json(), "unit": "sequences"}) == BATCH


@pytest.mark.parametrize(
    "values",
    [7, {"name": "x"}, {"kind": "float", "name": "x"}, {"kind": "choice", "name": "x", "choices": []},
     {**BATCH.to_json(), "low": "1"}, {**BATCH.to_json(), "part": "x"}, {**ATTENTION.to_json(), "choices": [1]}],
)  # fmt: skip
def test_a_definition_of_another_form_is_refused(values):
    with pytest.raises((TypeError, ValueError)):
        knob_from_json(values)
