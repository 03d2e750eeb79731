# SPDX-License-Identifier: MIT
"""Effects over the configurations that two sweeps have in common, from noise that all of them share.

A sweep mostly measures each configuration once, and the interval within one trial does not show how trials vary. But
the same change was measured on many configurations: the spread of their ratios, together with that of repeated trials,
is an estimate of the noise. It is pooled over the configurations (a common variance, as in an analysis of variance of
two factors), so a change that differs between configurations widens the intervals instead of faking a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from virnuc_profiler.analysis.comparison.effects import (
    Effect,
    Rule,
    effect_on,
    geometric_mean,
    metric_values,
    with_noise,
    with_range,
)
from virnuc_profiler.analysis.comparison.measured_run import MeasuredRun
from virnuc_profiler.analysis.comparison.metrics import CANNOT_TELL, HIGHER, LOWER, Metric


@dataclass(frozen=True, slots=True)
class Pair:
    """The trials of one configuration on both sides; each side has at least one.

    Attributes:
        configuration: Values of the knobs by name.
        reference: Trials of the reference.
        candidate: Trials of the candidate.
    """

    configuration: Mapping[str, Any]
    reference: tuple[MeasuredRun, ...]
    candidate: tuple[MeasuredRun, ...]


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of single trials.

    Attributes:
        deviation: Standard deviation of the logarithm of a value.
        degrees: Degrees of freedom of the estimate.
    """

    deviation: float
    degrees: int

    def judge(self, found: Effect, log_ratio: float, reference: int, candidate: int, rule: Rule) -> Effect:
        """Return an effect with the interval and the verdict that follow from this noise.

        A single trial may be an outlier, so it never proves a difference.

        Args:
            found: The effect without an interval.
            log_ratio: Logarithm of candidate over reference.
            reference: Number of trials of the reference.
            candidate: Number of trials of the candidate.
            rule: When a difference is a difference.
        """
        error = self.deviation * math.sqrt(1.0 / reference + 1.0 / candidate)
        judged = with_noise(found, log_ratio, error, self.degrees, rule)
        if min(reference, candidate) == 1 and judged.direction in (HIGHER, LOWER):
            return replace(judged, direction=CANNOT_TELL, reason="single trial")
        return judged


@dataclass(frozen=True, slots=True)
class PooledEffects:
    """The effects on one metric.

    Attributes:
        overall: Effect on the geometric mean over the configurations; None if none has the metric on both sides.
        each: Effect on each configuration, in the order of the pairs. They share the error of one test.
        noise: Noise of single trials; None if it is not known, or the metric has none.
    """

    overall: Effect | None
    each: tuple[Effect, ...]
    noise: Noise | None = None


def pooled_effects(metric: Metric, pairs: Sequence[Pair], rule: Rule) -> PooledEffects:
    """Return the effect on a metric over all configurations, and on each of them.

    Args:
        metric: The metric.
        pairs: The configurations that both sides have.
        rule: When a difference is a difference.
    """
    shared = replace(rule, tests=rule.tests * max(1, len(pairs)))
    each = [effect_on(metric, pair.reference, pair.candidate, shared) for pair in pairs]
    places = [place for place, effect in enumerate(each) if effect.ratio is not None]
    both = [each[place] for place in places]
    if len(both) < 2:
        return PooledEffects(both[0] if both else None, tuple(each))
    overall = Effect(
        metric=metric,
        reference=geometric_mean([effect.reference for effect in both if effect.reference is not None]),
        candidate=geometric_mean([effect.candidate for effect in both if effect.candidate is not None]),
    )
    if metric.repeatable:
        return PooledEffects(_range_over(overall, both, rule), tuple(each))
    values = [metric_values(metric, pairs[place].reference, pairs[place].candidate) for place in places]
    ratios = [fmean(map(math.log, after)) - fmean(map(math.log, before)) for before, after in values]
    weights = [1.0 / (1.0 / len(before) + 1.0 / len(after)) for before, after in values]
    mean = math.fsum(weight * ratio for weight, ratio in zip(weights, ratios, strict=True)) / math.fsum(weights)
    noise = _noise(ratios, weights, mean, values)
    for place, ratio, (before, after) in zip(places, ratios, values, strict=True):
        each[place] = noise.judge(each[place], ratio, len(before), len(after), shared)
    error = noise.deviation / math.sqrt(math.fsum(weights))
    return PooledEffects(with_noise(overall, mean, error, noise.degrees, rule), tuple(each), noise)


def _noise(
    ratios: Sequence[float],
    weights: Sequence[float],
    mean: float,
    values: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> Noise:
    """Return the noise from the spread of the ratios around their mean, and of repeats around theirs."""
    squares = [weight * (ratio - mean) ** 2 for weight, ratio in zip(weights, ratios, strict=True)]
    degrees = len(ratios) - 1
    for side in (side for pair in values for side in pair):
        logs = [math.log(value) for value in side]
        center = fmean(logs)
        squares += [(log - center) ** 2 for log in logs]
        degrees += len(side) - 1
    return Noise(math.sqrt(math.fsum(squares) / degrees), degrees)


def _range_over(overall: Effect, effects: Sequence[Effect], rule: Rule) -> Effect:
    """Return the range of the configurations' ratios, for a metric that equal work repeats."""
    lows = [effect.low for effect in effects if effect.low is not None]
    highs = [effect.high for effect in effects if effect.high is not None]
    ratio = geometric_mean([effect.ratio for effect in effects if effect.ratio is not None])
    assert ratio is not None
    return with_range(overall, ratio, min(lows), max(highs), rule)
