# SPDX-License-Identifier: MIT
"""Effects over the configurations of two sweeps, from the noise that they share."""

import numpy as np
import pytest

from virnuc_profiler.analysis.comparison.effects import Rule
from virnuc_profiler.analysis.comparison.measured_run import MeasuredRun
from virnuc_profiler.analysis.comparison.metrics import MEMORY, WHOLE_RUN
from virnuc_profiler.analysis.comparison.pooled_effects import Pair, pooled_effects

RULE = Rule()


def pairs(changes, noise=0.005, trials=1, seed=0, metric=WHOLE_RUN):
    """A pair for each change, of configurations that differ widely in speed."""
    random = np.random.default_rng(seed)

    def measure(center):
        values = center * np.exp(noise * random.standard_normal(trials))
        return tuple(MeasuredRun(source="a trial", values={metric.name: float(value)}) for value in values)

    return [
        Pair({"num_workers": number}, measure(1000.0 * (1 + number)), measure(1000.0 * (1 + number) * change))
        for number, change in enumerate(changes)
    ]


def test_a_slowdown_of_all_is_found_from_one_trial_each():
    found = pooled_effects(WHOLE_RUN, pairs([0.97] * 12), RULE)
    assert found.overall.verdict == "SLOWER"
    assert found.overall.low < 0.97 < found.overall.high
    assert len(found.each) == 12


def test_equal_sweeps_are_the_same():
    assert pooled_effects(WHOLE_RUN, pairs([1.0] * 12), RULE).overall.verdict == "SAME"


def test_few_configurations_show_no_difference():
    assert pooled_effects(WHOLE_RUN, pairs([0.9] * 4), RULE).overall.reason == "too few repeats"


def test_repeats_show_the_one_configuration_that_changed():
    found = pooled_effects(WHOLE_RUN, pairs([1.0] * 11 + [0.7], trials=3), RULE)
    assert [effect.verdict for effect in found.each][-1] == "SLOWER"
    assert "FASTER" not in [effect.verdict for effect in found.each]


def test_a_single_trial_proves_no_difference_of_its_configuration():
    found = pooled_effects(WHOLE_RUN, pairs([1.0] * 30 + [0.7], noise=0.001), RULE)
    assert (found.each[-1].verdict, found.each[-1].reason) == ("CANNOT TELL", "single trial")
    assert found.each[-1].high < 1.0


def test_equal_sweeps_are_seldom_called_different_overall_or_anywhere():
    wrong = np.zeros(2)
    for seed in range(200):
        found = pooled_effects(WHOLE_RUN, pairs([1.0] * 8, noise=0.05, seed=seed), RULE)
        different = [effect.verdict in ("FASTER", "SLOWER") for effect in (found.overall, *found.each)]
        wrong += different[0], any(different[1:])
    assert (wrong <= 0.05 * 200 + 2 * np.sqrt(0.05 * 0.95 * 200)).all(), wrong


def test_a_metric_that_work_repeats_needs_no_noise():
    found = pooled_effects(MEMORY, pairs([1.5, 1.5], noise=0.0, metric=MEMORY), RULE)
    assert (found.overall.verdict, found.noise) == ("HIGHER", None)


def test_configurations_without_the_metric_are_left_out():
    lacking = Pair({"num_workers": 99}, (MeasuredRun(source="a"),), (MeasuredRun(source="b"),))
    found = pooled_effects(WHOLE_RUN, [lacking, *pairs([1.0] * 6)], RULE)
    assert found.each[0].reason == "not measured on either side"
    assert found.overall.reference == pytest.approx(pooled_effects(WHOLE_RUN, pairs([1.0] * 6), RULE).overall.reference)
    assert pooled_effects(WHOLE_RUN, [lacking], RULE).overall is None
