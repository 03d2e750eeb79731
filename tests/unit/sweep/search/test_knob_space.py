# SPDX-License-Identifier: MIT
"""The space of any knobs: levels within their ranges, seeds that spread, and nothing beyond what has failed."""

import math

import pytest

from tests.support.toy_knobs import TOY
from virnuc_profiler.sweep.search.adaptive import Limits, Measurement, finalists, next_trial
from virnuc_profiler.sweep.search.knob_space import (
    MAX_CONFIGURATIONS,
    MAX_LEVELS,
    SEEDS,
    build_knob_space,
    caps_of,
    levels_of,
)
from virnuc_profiler.targets.knobs.configuration import KnobSet
from virnuc_profiler.targets.knobs.knob import BooleanKnob, ChoiceKnob, IntegerKnob


def space(knobs=TOY, grid=(), **caps):
    return build_knob_space(knobs.baseline, dict(grid), caps)


def test_a_wide_range_is_climbed_by_ratio_and_a_narrow_one_in_equal_steps():
    wide = IntegerKnob(name="x", default=3, low=1, high=512)
    assert levels_of(wide) == (1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512)
    assert levels_of(wide, cap=20) == (1, 2, 3, 4, 8, 16, 20)
    narrow = IntegerKnob(name="x", default=5, low=-1, high=5)
    assert levels_of(narrow) == (-1, 0, 1, 2, 3, 4, 5)
    assert len(levels_of(IntegerKnob(name="x", default=30, low=30, high=99))) == MAX_LEVELS
    assert levels_of(IntegerKnob(name="num_workers", default=4, low=0, high=1024), cap=2) == (0, 1, 2)


def test_names_are_those_that_a_sweep_tries_by_default():
    assert levels_of(ChoiceKnob(name="x", choices=("a", "b"))) == ("a", "b")
    assert levels_of(BooleanKnob(name="x", default=True, tries=(True,))) == (True,)
    assert levels_of(IntegerKnob(name="x", default=1, low=1, high=9, tries=(1,))) == (1,)


def test_axes_are_the_knobs_that_vary_and_lists_replace_their_ranges():
    assert space().axes["mode"] == ("plain", "fast")
    assert "compile" not in space().axes
    given = space(grid={"batch_size": (8, 4), "compile": (True, False), "mode": ("fast",)})
    assert given.axes == {"batch_size": (4, 8), "compile": (False, True)}


def test_the_machine_and_the_workload_cap_what_a_batch_holds():
    knobs = KnobSet(
        "toy",
        (
            IntegerKnob(name="num_workers", default=1, low=0, high=64),
            IntegerKnob(name="batch_tokens", default=4096, low=3, high=2**24, tries=(4096, 16_384)),
            IntegerKnob(name="batch_size", default=8, low=1, high=4096),
        ),
    )
    usual = {"workers": 4, "tokens": 1_000_000, "num_sequences": 5000}
    assert caps_of(knobs, fitting_tokens=None, **usual) == {
        "num_workers": 4, "batch_tokens": 16_384, "batch_size": 64,
    }  # fmt: skip
    known = caps_of(knobs, fitting_tokens=60_000, **usual)
    assert (known["batch_tokens"], known["batch_size"]) == (60_000, 300)
    assert caps_of(knobs, fitting_tokens=10**9, **usual)["batch_tokens"] == 100_000


def test_seeds_are_spread_and_the_first_has_the_highest_levels_that_the_machine_bounds():
    found = space(batch_size=64)
    seeds = found.seeds()
    assert len(set(seeds)) == SEEDS
    assert seeds[0].batch_size == 64
    assert {one.mode for one in seeds} == {"plain", "fast"}
    assert len({one.batch_size for one in seeds}) >= 4


def test_every_configuration_has_a_place_in_the_unit_cube():
    found = space()
    assert len(found.configurations) == len(set(found.configurations)) == math.prod(map(len, found.axes.values()))
    assert all(0 <= place <= 1 for position in found.positions for place in position)
    assert found.position(TOY.baseline.replace(batch_size=5)) == found.position(TOY.baseline)


def test_a_space_is_never_too_large_for_its_model():
    knobs = KnobSet("big", tuple(IntegerKnob(name=f"k{n}", default=1, low=1, high=10**6) for n in range(7)))
    found = space(knobs)
    assert len(found.configurations) <= MAX_CONFIGURATIONS
    assert all(levels[0] == 1 and levels[-1] == 10**6 for levels in found.axes.values())
    many = KnobSet("many", tuple(BooleanKnob(name=f"k{n}", default=False) for n in range(40)))
    assert list(space(many).axes) == [f"k{n}" for n in range(14)]


def test_what_is_larger_than_a_failure_is_not_tried():
    found = space(batch_size=64)
    failed = TOY.baseline.replace(batch_size=16, mode="fast")
    hopeless = found.hopeless([failed])
    assert {(one.batch_size, one.mode) for one in hopeless} == {(16, "fast"), (32, "fast"), (64, "fast")}
    assert found.hopeless([]) == frozenset()


def test_equal_spaces_are_equal():
    assert space() == space()
    assert hash(space()) == hash(space())
    assert space() != space(batch_size=64)
    assert space() != build_knob_space(TOY.baseline.replace(compile=True), {}, {})


def rate_of(one):
    """Larger batches are faster, up to the 64 sequences that fit."""
    if one.batch_size > 64:
        return None
    return (2 if one.mode == "fast" else 1) * one.batch_size / (3 + one.batch_size)


@pytest.mark.parametrize("seed", range(3))
def test_a_search_finds_the_best_of_any_knobs(seed):
    pytest.importorskip("optuna")
    found, trials = space(batch_size=512), []
    while (one := next_trial(found, trials, limits=Limits(), seed=seed, baseline=TOY.baseline)) is not None:
        trials.append((one, Measurement(rate_of(one), 1.0)))
    assert trials[0][0] == TOY.baseline
    assert rate_of(finalists(found, trials, 8, seed)[0]) >= 0.95 * rate_of(
        TOY.baseline.replace(batch_size=64, mode="fast")
    )
    assert sum(taken.rate is None for _, taken in trials) <= 4
