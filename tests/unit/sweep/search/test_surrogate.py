"""The surrogate tells a good configuration from a lucky reading."""

import math
import random

from virnuc_profiler.sweep.search.space import build_space
from virnuc_profiler.sweep.search.surrogate import Surrogate

SPACE = build_space(workers=8, largest_budget=65_536, tokens=4_300_000, num_sequences=20_000, longest_tokens=1000)


def rate(one):
    """A smooth rate that grows with the budget."""
    return one.token_budget / (one.token_budget + 6000)


def observations(count, noise, seed=1):
    source = random.Random(seed)
    chosen = source.sample(SPACE.configurations, count)
    return [(one, math.log(rate(one)) + source.gauss(0, noise)) for one in chosen]


def test_it_finds_the_end_of_a_slope_between_the_measured_points():
    best = Surrogate(SPACE, observations(16, 0.01)).best()
    assert rate(best) > 0.97 * max(map(rate, SPACE.configurations))


def test_one_lucky_reading_does_not_make_a_bad_configuration_the_best():
    lucky = min(SPACE.configurations, key=lambda one: (abs(one.token_budget - 4096), one.num_workers))
    found = [*observations(16, 0.01), (lucky, 0.05)]  # reads higher than any truth
    assert max(found, key=lambda pair: pair[1])[0] == lucky
    for seed in range(3):
        again = [*observations(16, 0.01, seed), (lucky, 0.05), (lucky, math.log(rate(lucky)))]
        assert Surrogate(SPACE, again).best() != lucky


def test_finalists_are_distinct_candidates_and_follow_from_the_seed():
    found = observations(12, 0.02)
    candidates = [one for one, _ in found]
    surrogate = Surrogate(SPACE, found)
    finalists = surrogate.finalists(candidates, 4, seed=3)
    assert len(set(finalists)) == 4
    assert set(finalists) <= set(candidates)
    assert finalists == Surrogate(SPACE, found).finalists(candidates, 4, seed=3)
    assert len(surrogate.finalists(candidates[:2], 4, seed=3)) == 2


def test_equal_rates_and_a_single_one_are_no_difficulty():
    flat = [(one, 1.0) for one in SPACE.configurations[:8]]
    assert Surrogate(SPACE, flat).best() in SPACE.configurations
    assert Surrogate(SPACE, flat[:1]).best(excluded=flat[:1]) in SPACE.configurations


def test_the_noise_is_estimated():
    quiet, loud = (Surrogate(SPACE, observations(60, noise)).noise for noise in (0.002, 0.2))
    assert quiet < 0.05 < loud
