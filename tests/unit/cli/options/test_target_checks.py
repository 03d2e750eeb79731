# SPDX-License-Identifier: MIT
"""What the doctor says of targets."""

import pytest

from virnuc_profiler.cli.main import main
from virnuc_profiler.cli.options import target_checks
from virnuc_profiler.cli.options.target_checks import registered_checks
from virnuc_profiler.cli.options.target_checks import target_checks as checks_of
from virnuc_profiler.targets.contract import TargetOptions
from virnuc_profiler.targets.knobs.knob import BooleanKnob, IntegerKnob
from virnuc_profiler.targets.registry import RegisteredTarget

CPU = TargetOptions("cpu")


def test_a_target_is_shown_as_it_describes_itself():
    found = {check.name: check.found for check in checks_of("tests.support.paced_target:make", CPU)}
    assert found["target"] == "paced, on cpu"
    assert "model_name: sleeper" in found["target describes"]
    assert found["knob batch_size"] == ("sequences of a batch: a whole number from 1 to 128; default: 4; tried: 4, 16")
    assert found["target packing"] == "the best configuration may pack as it likes"


def test_a_default_that_is_the_programs_own_choice_is_told_in_words():
    knobs = [IntegerKnob(name="size", low=1, high=9, default_text="what fits"), BooleanKnob(name="fast")]
    assert [target_checks._described(knob) for knob in knobs] == [
        "Size: a whole number from 1 to 9; default: what fits; tried: default",
        "Fast: true or false; default: left to the program; tried: false, true",
    ]


@pytest.mark.parametrize("name", ["nothing", "no.such.module:make", "tests.support.odd_factories:fails"])
def test_a_target_that_cannot_be_made_is_broken(name):
    (check,) = checks_of(name, CPU)
    assert check.state == "broken"
    assert name.partition(":")[0] in check.found


def test_a_target_without_its_package_says_how_to_install_it(monkeypatch):
    known = {"far": RegisteredTarget("far:make", "no_such_package", "pip install far", "a far one")}
    monkeypatch.setattr(target_checks, "TARGETS", known)
    monkeypatch.setattr("virnuc_profiler.targets.registry.TARGETS", known)
    (check,) = registered_checks()
    assert (check.state, check.fix) == ("missing", "pip install far")
    (check,) = checks_of("far", CPU)
    assert (check.state, check.fix) == ("broken", "pip install far")


def test_the_doctor_fails_if_the_target_that_it_was_asked_for_does(capsys):
    assert main(["doctor", "--device", "cpu", "--target", "tests.support.paced_target:make"]) == 0
    assert "paced, on cpu" in capsys.readouterr().out
    assert main(["doctor", "--device", "cpu", "--target", "nothing"]) == 1
    assert main(["doctor", "--device", "cpu", "--target", "builtin"]) == 0
