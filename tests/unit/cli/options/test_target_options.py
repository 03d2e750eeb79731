# SPDX-License-Identifier: MIT
"""What options say of the knobs of a target, and what is refused."""

import argparse
from pathlib import Path

import pytest

from tests.support.toy_knobs import TOY
from virnuc_profiler.cli.main import main
from virnuc_profiler.cli.options.target_options import (
    configuration_given,
    grid_given,
    target_of_text,
    values_given,
)
from virnuc_profiler.errors import UsageError
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, KnobSet
from virnuc_profiler.targets.knobs.knob import ChoiceKnob, IntegerKnob

WORKERS = KnobSet("toy", (*TOY.knobs, IntegerKnob(name="num_workers", default=1, low=0, high=8)))


def test_options_of_their_own_and_those_by_name_give_knobs_their_values():
    given = {"num_workers": (2, 4), "knob": [("batch_size", "4, 8"), ("compile", "true,false")]}
    assert values_given(given, WORKERS) == {
        "num_workers": (2, 4), "batch_size": (4, 8), "compile": (True, False),
    }  # fmt: skip
    assert values_given({"num_workers": 2}, WORKERS) == {"num_workers": (2,)}  # as profile reads it


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"token_budget": (2048,)}, "--token-budget has no effect here: 'token_budget' is not a knob of toy; the knobs "
         "are batch_size, compile, mode"),
        ({"knob": [("size", "4")]}, "--knob size has no effect here: 'size' is not a knob of toy"),
        ({"knob": [("batch_size", "many")]}, "--knob batch_size: 'many' is not a whole number"),
        ({"knob": [("batch_size", "0")]}, "--knob batch_size: batch_size is 0; it must be a whole number from 1"),
        ({"knob": [("compile", "yes")]}, "--knob compile: compile is 'yes'; it must be true or false"),
        ({"knob": [("mode", "plain,plain")]}, "names plain twice"),
        ({"knob": [("mode", "plain"), ("mode", "fast")]}, "mode is given twice"),
        ({"precision": ("fp32", "bf16")}, "--precision takes one value with --target toy"),
    ],
)  # fmt: skip
def test_what_a_target_cannot_have_is_refused_by_name(given, words):
    with pytest.raises(UsageError) as caught:
        values_given(given, TOY)
    assert words in str(caught.value)


def test_a_value_beyond_the_range_of_the_target_is_refused():
    with pytest.raises(UsageError, match="num_workers is 9; it must be a whole number from 0 to 8"):
        values_given({"num_workers": (9,)}, WORKERS)


def test_a_knob_with_an_option_of_its_own_is_given_by_that():
    with pytest.raises(UsageError, match="use --token-budget"):
        values_given({"knob": [("token_budget", "2048")]}, BUILTIN_KNOBS)


def test_the_grid_of_a_target_names_all_that_is_varied():
    assert grid_given({}, TOY) == {"batch_size": (4, 16), "mode": ("plain", "fast")}
    given = {"knob": [("mode", "fast"), ("compile", "true")]}
    assert grid_given(given, TOY) == {"batch_size": (4, 16), "compile": (True,), "mode": ("fast",)}
    assert grid_given(given, TOY, searched=True) == {"mode": ("fast",), "compile": (True,)}
    lists = {"num_workers": (2,), "precision": ("bf16",)}
    assert grid_given(lists, BUILTIN_KNOBS) == {"num_workers": (2,)}  # one precision is that of the whole sweep


def test_a_precision_goes_to_the_factory_unless_the_target_has_a_knob_for_it():
    own = KnobSet("toy", (ChoiceKnob(name="precision", choices=("fp32", "bf16"), default="fp32"),))
    assert values_given({"precision": ("bf16",)}, TOY) == {}
    assert values_given({"precision": ("bf16", "fp32")}, own) == {"precision": ("bf16", "fp32")}


def test_default_leaves_a_knob_to_a_program_that_can_choose():
    unset = KnobSet(
        "toy", (IntegerKnob(name="size", low=1, high=8), ChoiceKnob(name="mode", choices=("default", "fast")))
    )
    given = {"knob": [("size", "4, default"), ("mode", "default")]}
    assert values_given(given, unset) == {"size": (4, None), "mode": ("default",)}
    with pytest.raises(UsageError, match="--knob size: size has the value default twice"):
        values_given({"knob": [("size", "default,default")]}, unset)
    with pytest.raises(UsageError, match="'default' is not a whole number"):
        values_given({"knob": [("batch_size", "default")]}, TOY)  # its default is a number


def test_profile_takes_one_value_of_a_knob():
    found = configuration_given({"knob": [("batch_size", "16"), ("compile", "true")]}, TOY)
    assert str(found) == "batch_size=16, compile=true, mode=plain"
    with pytest.raises(UsageError, match="--knob batch_size has 2 values; only sweep takes lists"):
        configuration_given({"knob": [("batch_size", "4,8")]}, TOY)


def test_a_target_in_a_file_is_the_same_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert target_of_text("mine.py:make") == f"{tmp_path}/mine.py:make"
    assert [target_of_text(name) for name in ("builtin", "mine:make")] == ["builtin", "mine:make"]
    for text in ("", "a\nb"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not the name of a target"):
            target_of_text(text)


PACED = ["--target", f"{Path(__file__).parents[3] / 'support' / 'paced_target.py'}:make", "--device", "cpu"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["sweep", "--knob", "batch_size"], "'batch_size' is not of the form NAME=VALUE"),
        (["sweep", "--knob", "=4"], "'=4' is not of the form NAME=VALUE"),
        (["sweep", "--target", ""], "'' is not the name of a target"),
        (["sweep", "--steps", "grid"], "step 'grid' does not exist for builtin; the steps are baseline, dataloader"),
        (["sweep", *PACED, "--min-cosine", "0.9"], "--min-cosine has no effect with --target"),
        (["doctor", "--target", "x", "--overhead"], "--target has no effect with --overhead"),
        (["doctor", "--target", "x", "--output-dir", "."], "--output-dir has no effect with"),
        (
            ["sweep", *PACED, "--isolation", "none", "--steps", "packing"],
            "step 'packing' does not exist for paced_target",
        ),
        (
            ["sweep", *PACED, "--isolation", "none", "--knob", "mode=fast", "--knob", "batch_size=4"],
            "nothing is varied",
        ),
        (["sweep", "--target", "nothing", "--isolation", "none", "--device", "cpu"], "there is no target 'nothing'"),
        (["profile", *PACED, "--knob", "batch_size=4,8"], "--knob batch_size has 2 values"),
        (["profile", *PACED, "--token-budget", "4096"], "--token-budget has no effect here"),
    ],
)
def test_misuse_is_one_sentence_and_code_2(capsys, argv, words):
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err


def test_a_dry_run_of_a_target_lists_its_grid_and_says_if_that_is_cut(capsys, tmp_path):
    common = [
        "sweep",
        *PACED,
        "--isolation",
        "none",
        "--num-sequences",
        "8",
        "--dry-run",
        "--output-dir",
        str(tmp_path),
    ]
    assert main([*common, "--knob", "batch_size=2,8"]) == 0
    out = capsys.readouterr().out
    assert "grid: 4 configurations\n  batch_size=2, compile=false, mode=plain\n" in out
    assert "Target: paced_target.py:make, model: its own choice, on cpu" in out
    assert main([*common, "--knob", f"batch_size={','.join(map(str, range(1, 41)))}"]) == 0
    out = capsys.readouterr().out
    assert "batch_size, mode have 80 combinations, more than 64, so one knob after the other is varied" in out
    assert "grid: 41 configurations" in out
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_a_search_names_the_ranges(capsys, tmp_path):
    pytest.importorskip("optuna")
    argv = ["sweep", *PACED, "--isolation", "none", "--num-sequences", "8", "--dry-run", "--output-dir", str(tmp_path)]
    assert main([*argv, "--search", "adaptive", "--knob", "compile=true,false"]) == 0
    assert "search: batch_size 1 to 16; compile false, true; mode plain, fast" in capsys.readouterr().out
