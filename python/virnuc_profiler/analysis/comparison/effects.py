# SPDX-License-Identifier: MIT
"""The effect on one metric, with its interval and verdict, from the runs of both sides.

How the interval is made depends on what there is; ``basis`` names it:

- ``repeats``: Welch's test on the logarithms of the runs' values, or with a single run on one side the variation of
  the other side's runs (a prediction interval). Only this one shows how runs vary.
- ``batches``: one run each. The intervals of both steady rates, from the batches within the runs.
- ``range``: the metric gives equal values for equal work, so the interval is the range of the values.
- ``none``: one run each of a metric whose noise a single run does not show. There is no interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median, stdev
from typing import Any, Final

from virnuc_profiler.analysis.comparison.measured_run import MeasuredRun
from virnuc_profiler.analysis.comparison.metrics import (
    CANNOT_TELL,
    HIGHER,
    LOWER,
    METRICS,
    SAME,
    STEADY,
    Metric,
)
from virnuc_profiler.analysis.confidence.paired import (
    FASTER,
    MIN_BLOCKS_TO_DIFFER,
    SLOWER,
    Comparison,
    compare_intervals,
    compare_samples,
    shared_error,
    verdict_of,
)
from virnuc_profiler.analysis.confidence.paired import SAME as SAME_RATE
from virnuc_profiler.analysis.confidence.student import two_sided_t

REPEATS: Final = "repeats"
BATCHES: Final = "batches"
RANGE: Final = "range"
NO_INTERVAL: Final = "none"

_DIRECTIONS: Final = {FASTER: HIGHER, SLOWER: LOWER, SAME_RATE: SAME}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a difference is a difference.

    Attributes:
        threshold: Relative difference up to which two values are the same.
        confidence: Confidence of the intervals.
        tests: Number of comparisons that share the error, by Bonferroni.
        run_noise: Standard deviation from run to run, as a share of the rate, for comparisons of one run each.
    """

    threshold: float = 0.02
    confidence: float = 0.95
    tests: int = 1
    run_noise: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The effect on one metric.

    Attributes:
        metric: The metric.
        reference: Value of the reference, the geometric mean of its runs; None if it was not measured.
        candidate: Value of the candidate, the geometric mean of its runs; None if it was not measured.
        ratio: Candidate over reference; None if one of them was not measured.
        low: Lower end of the interval of `ratio`; None without an interval.
        high: Upper end of the interval of `ratio`; None without an interval.
        direction: ``higher``, ``lower``, ``same`` or ``cannot_tell``.
        basis: How the interval was made; see the module.
        reason: Why nothing can be told, in a few words; empty if something can.
    """

    metric: Metric
    reference: float | None
    candidate: float | None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    direction: str = CANNOT_TELL
    basis: str = NO_INTERVAL
    reason: str = ""

    @property
    def verdict(self) -> str:
        """The verdict in the metric's own word, such as ``SLOWER``."""
        return self.metric.verdict(self.direction)

    @property
    def is_worse(self) -> bool:
        """Whether the candidate is shown to be worse."""
        return self.metric.is_worse(self.direction)

    def to_json(self) -> dict[str, Any]:
        """Return the effect as the JSON form of a comparison holds it."""
        return {
            "metric": self.metric.name,
            "verdict": self.verdict,
            "reference": self.reference,
            "candidate": self.candidate,
            "ratio": self.ratio,
            "low": self.low,
            "high": None if self.high is None or math.isinf(self.high) else self.high,
            "basis": self.basis,
            "reason": self.reason or None,
        }


def run_effects(reference: Sequence[MeasuredRun], candidate: Sequence[MeasuredRun], rule: Rule) -> tuple[Effect, ...]:
    """Return the effect on each metric that at least one side has measured.

    Args:
        reference: Runs of the reference, repeats of each other.
        candidate: Runs of the candidate, repeats of each other.
        rule: When a difference is a difference.
    """
    effects = (effect_on(metric, reference, candidate, rule) for metric in METRICS)
    return tuple(effect for effect in effects if (effect.reference, effect.candidate) != (None, None))


def effect_on(metric: Metric, reference: Sequence[MeasuredRun], candidate: Sequence[MeasuredRun], rule: Rule) -> Effect:
    """Return the effect on one metric.

    Args:
        metric: The metric.
        reference: Runs of the reference, repeats of each other.
        candidate: Runs of the candidate, repeats of each other.
        rule: When a difference is a difference.
    """
    before, after = metric_values(metric, reference, candidate)
    found = Effect(metric=metric, reference=geometric_mean(before), candidate=geometric_mean(after))
    if found.reference is None or found.candidate is None:
        which = "either side" if found.reference is found.candidate else "one side"
        return replace(found, reason=f"not measured on {which}")
    found = replace(found, ratio=found.candidate / found.reference)
    if metric.repeatable:
        return _from_range(found, before, after, rule)
    if min(len(before), len(after)) >= 2:
        compared = compare_samples(
            after, before, threshold=rule.threshold, confidence=rule.confidence, tests=rule.tests
        )
        return _from_comparison(found, compared, REPEATS)
    if max(len(before), len(after)) >= 2:
        return _one_against_repeats(found, before, after, rule)
    if metric is STEADY:
        return _from_batches(found, reference, candidate, rule)
    return replace(found, reason="one run each")


def metric_values(
    metric: Metric, reference: Sequence[MeasuredRun], candidate: Sequence[MeasuredRun]
) -> tuple[list[float], list[float]]:
    """Return the values of a metric on both sides, defined in the same way.

    The steady rate is that of the intervals if all runs have one; the rates in older files exclude another warm-up.

    Args:
        metric: The metric.
        reference: Runs of the reference.
        candidate: Runs of the candidate.
    """
    if metric is STEADY and all(_settled_rate(run) is not None for run in (*reference, *candidate)):
        return _present(map(_settled_rate, reference)), _present(map(_settled_rate, candidate))
    name = metric.name
    return _present(run.values.get(name) for run in reference), _present(run.values.get(name) for run in candidate)


def geometric_mean(values: Sequence[float]) -> float | None:
    """Return the geometric mean of positive values; None without values."""
    if len(values) == 1:
        return values[0]  # not rounded by the logarithm
    return math.exp(fmean(map(math.log, values))) if values else None


def with_noise(found: Effect, log_ratio: float, error: float, degrees: int, rule: Rule) -> Effect:
    """Return an effect with the interval that follows from noise between runs.

    Args:
        found: The effect without an interval.
        log_ratio: Logarithm of candidate over reference.
        error: Standard error of that logarithm.
        degrees: Degrees of freedom of the standard error; one more than that count as repeats.
        rule: When a difference is a difference.
    """
    reach = two_sided_t(shared_error(rule.confidence, rule.tests), degrees) * error
    compared = verdict_of(log_ratio, reach, degrees + 1, rule.threshold, rule.confidence, rule.tests)
    return _from_comparison(found, compared, REPEATS)


def _from_batches(
    found: Effect, reference: Sequence[MeasuredRun], candidate: Sequence[MeasuredRun], rule: Rule
) -> Effect:
    before, after = reference[0].steady, candidate[0].steady
    if before is None or after is None:
        return replace(found, reason="no batch times")
    if before.confidence != after.confidence:
        return replace(found, reason="intervals of different confidence")
    if states := dict.fromkeys(each.state.replace("_", " ") for each in (before, after) if each.low is None):
        return replace(found, reason=" and ".join(states))
    compared = compare_intervals(after, before, threshold=rule.threshold, between_runs=rule.run_noise)
    return _from_comparison(found, compared, BATCHES)


def _from_comparison(found: Effect, compared: Comparison, basis: str) -> Effect:
    direction = _DIRECTIONS.get(compared.verdict, CANNOT_TELL)
    reason = ""
    if direction == CANNOT_TELL:
        few = basis == REPEATS and compared.blocks < MIN_BLOCKS_TO_DIFFER
        reason = "too few repeats" if few else "interval too wide"
    return replace(
        found,
        ratio=compared.ratio,
        low=compared.low,
        high=compared.high,
        direction=direction,
        basis=basis,
        reason=reason,
    )


def _one_against_repeats(found: Effect, before: Sequence[float], after: Sequence[float], rule: Rule) -> Effect:
    """Compare a single run with repeats, as if its own side varied as they do."""
    repeats = [math.log(value) for value in max(before, after, key=len)]
    assert found.ratio is not None
    error = stdev(repeats) * math.sqrt(1.0 + 1.0 / len(repeats))
    return with_noise(found, math.log(found.ratio), error, len(repeats) - 1, rule)


def _from_range(found: Effect, before: Sequence[float], after: Sequence[float], rule: Rule) -> Effect:
    """Compare values that equal work repeats: any two of them may be compared."""
    return with_range(found, median(after) / median(before), min(after) / max(before), max(after) / min(before), rule)


def with_range(found: Effect, ratio: float, low: float, high: float, rule: Rule) -> Effect:
    """Return an effect whose interval is a range of ratios that were all measured.

    Args:
        found: The effect without an interval.
        ratio: Candidate over reference.
        low: Lowest ratio.
        high: Highest ratio.
        rule: When a difference is a difference.
    """
    edge, direction = 1.0 + rule.threshold, CANNOT_TELL
    if 1.0 / edge <= low and high <= edge:
        direction = SAME
    elif low > 1.0 and ratio > edge:
        direction = HIGHER
    elif high < 1.0 and ratio < 1.0 / edge:
        direction = LOWER
    reason = "values overlap" if direction == CANNOT_TELL else ""
    return replace(found, ratio=ratio, low=low, high=high, direction=direction, basis=RANGE, reason=reason)


def _present(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _settled_rate(run: MeasuredRun) -> float | None:
    return None if run.steady is None or run.steady.low is None else run.steady.rate
