# SPDX-License-Identifier: MIT
"""The effect on one metric: what may be told from which runs."""

import numpy as np
import pytest

from virnuc_profiler.analysis.comparison.effects import (
    BATCHES,
    NO_INTERVAL,
    RANGE,
    REPEATS,
    Rule,
    effect_on,
    run_effects,
)
from virnuc_profiler.analysis.comparison.measured_run import MeasuredRun
from virnuc_profiler.analysis.comparison.metrics import ENERGY, MEMORY, PACKING, START_UP, STEADY, WHOLE_RUN
from virnuc_profiler.analysis.confidence.rate_interval import SETTLED, TOO_SHORT, RateInterval

RULE = Rule()


def interval(rate, half=0.005, state=SETTLED):
    ends = (rate * (1 - half), rate * (1 + half)) if state == SETTLED else (None, None)
    return RateInterval(state, rate, *ends, 0.95, 20 if state == SETTLED else 0, (0, 1))


def runs(metric, values):
    return [MeasuredRun(source=f"run {number}", values={metric.name: value}) for number, value in enumerate(values)]


def repeats(metric, center, count, noise=0.005, seed=0):
    return runs(metric, center * np.exp(noise * np.random.default_rng(seed).standard_normal(count)))


def steady(rate, **options):
    return [MeasuredRun(source="a run", steady=interval(rate, **options), values={STEADY.name: rate})]


def test_one_run_each_is_compared_by_its_batches():
    effect = effect_on(STEADY, steady(1000.0), steady(970.0), RULE)
    assert (effect.verdict, effect.basis, effect.reason) == ("SLOWER", BATCHES, "")
    assert effect.ratio == pytest.approx(0.97)
    assert effect.low < 0.97 < effect.high


def test_a_run_that_is_too_short_says_so():
    effect = effect_on(STEADY, steady(1000.0), steady(900.0, state=TOO_SHORT), RULE)
    assert (effect.verdict, effect.low, effect.reason) == ("CANNOT TELL", None, "too short")


def test_one_run_each_does_not_show_the_noise_of_other_metrics():
    for metric in (WHOLE_RUN, START_UP, ENERGY):
        effect = effect_on(metric, runs(metric, [100.0]), runs(metric, [50.0]), RULE)
        assert (effect.verdict, effect.basis, effect.reason) == ("CANNOT TELL", NO_INTERVAL, "one run each")
        assert effect.ratio == 0.5


@pytest.mark.parametrize(("change", "verdict"), [(0.97, "SLOWER"), (1.03, "FASTER"), (1.0, "SAME")])
def test_repeats_show_a_difference_or_equality(change, verdict):
    before, after = repeats(WHOLE_RUN, 1000.0, 8), repeats(WHOLE_RUN, 1000.0 * change, 8, seed=1)
    effect = effect_on(WHOLE_RUN, before, after, RULE)
    assert (effect.verdict, effect.basis) == (verdict, REPEATS)
    assert effect.low < change < effect.high


def test_a_difference_within_the_noise_cannot_be_told():
    before, after = [950.0, 1050.0] * 4, [921.5, 1018.5] * 4  # 3 % apart
    effect = effect_on(WHOLE_RUN, runs(WHOLE_RUN, before), runs(WHOLE_RUN, after), RULE)
    assert (effect.verdict, effect.reason) == ("CANNOT TELL", "interval too wide")


def test_less_time_is_faster():
    effect = effect_on(START_UP, repeats(START_UP, 2.0, 6), repeats(START_UP, 1.8, 6, seed=1), RULE)
    assert effect.verdict == "FASTER"
    assert not effect.is_worse


def test_too_few_repeats_show_no_difference():
    effect = effect_on(WHOLE_RUN, repeats(WHOLE_RUN, 1000.0, 4), repeats(WHOLE_RUN, 800.0, 4, seed=1), RULE)
    assert (effect.verdict, effect.reason) == ("CANNOT TELL", "too few repeats")
    assert effect.high < 1.0


def test_a_single_run_is_judged_by_the_variation_of_the_repeats():
    before = repeats(WHOLE_RUN, 1000.0, 8, noise=0.01)
    assert effect_on(WHOLE_RUN, before, runs(WHOLE_RUN, [900.0]), RULE).verdict == "SLOWER"
    assert effect_on(WHOLE_RUN, before, runs(WHOLE_RUN, [990.0]), RULE).verdict == "CANNOT TELL"
    assert effect_on(WHOLE_RUN, runs(WHOLE_RUN, [900.0]), before, RULE).verdict == "FASTER"


def test_a_single_run_is_seldom_called_different_from_repeats_of_its_own_build():
    random = np.random.default_rng(7)
    wrong = 0
    for _ in range(400):
        values = 1000.0 * np.exp(0.03 * random.standard_normal(7))
        effect = effect_on(WHOLE_RUN, runs(WHOLE_RUN, values[:6]), runs(WHOLE_RUN, values[6:]), RULE)
        wrong += effect.verdict in ("FASTER", "SLOWER")
    assert wrong <= 0.05 * 400 + 2 * np.sqrt(0.05 * 0.95 * 400)


def test_equal_work_is_compared_exactly():
    higher = effect_on(MEMORY, runs(MEMORY, [1.5]), runs(MEMORY, [1.8]), RULE)
    assert (higher.verdict, higher.basis, higher.is_worse) == ("HIGHER", RANGE, True)
    assert effect_on(PACKING, runs(PACKING, [0.99]), runs(PACKING, [0.985]), RULE).verdict == "SAME"
    assert effect_on(PACKING, runs(PACKING, [0.99]), runs(PACKING, [0.9]), RULE).is_worse
    overlapping = effect_on(MEMORY, runs(MEMORY, [1.0, 2.0]), runs(MEMORY, [1.5, 2.5]), RULE)
    assert (overlapping.verdict, overlapping.reason) == ("CANNOT TELL", "values overlap")


def test_steady_rates_of_two_definitions_are_not_mixed():
    """A run without an interval has only the rate of its file, so the other side's file counts too."""
    stored = runs(STEADY, [1000.0, 1001.0])
    both = [MeasuredRun(source="new", steady=interval(1010.0), values={STEADY.name: 1000.0})] * 2
    assert effect_on(STEADY, stored, both, RULE).candidate == pytest.approx(1000.0)
    assert effect_on(STEADY, both, both, RULE).candidate == pytest.approx(1010.0)


def test_what_one_side_lacks_is_named_and_what_both_lack_is_left_out():
    effects = run_effects(runs(ENERGY, [1.0]), runs(WHOLE_RUN, [2.0]), RULE)
    assert [(effect.metric, effect.reason) for effect in effects] == [
        (WHOLE_RUN, "not measured on one side"),
        (ENERGY, "not measured on one side"),
    ]


def test_the_threshold_decides_what_matters():
    before, after = repeats(WHOLE_RUN, 1000.0, 8), repeats(WHOLE_RUN, 970.0, 8, seed=1)
    assert effect_on(WHOLE_RUN, before, after, Rule(threshold=0.05)).verdict == "SAME"
