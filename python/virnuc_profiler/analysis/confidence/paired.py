# SPDX-License-Identifier: MIT
"""Compare two configurations: ratio of their rates, its interval, and a verdict.

All intervals are computed on logarithms of rates, where a ratio is a difference and the order of the two does not
matter. A difference counts only if it is larger than noise and larger than a practical threshold. Student's interval is
exact for normal noise only, so a difference must also pass a randomization test wherever there are enough measurements
for one. That test is exact for any noise, such as that of a host with two modes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.confidence.randomization import permutation_error, sign_flip_error
from virnuc_profiler.analysis.confidence.rate_interval import RateInterval
from virnuc_profiler.analysis.confidence.student import check_confidence, two_sided_t

FASTER: Final = "faster"
SLOWER: Final = "slower"
SAME: Final = "same"
CANNOT_TELL: Final = "cannot_tell"

MIN_BLOCKS_TO_DIFFER: Final = 5
"""On a machine with two modes, three equal differences arise by chance in 3 % of cases, five in 0.2 %."""
MIN_BLOCKS_TO_AGREE: Final = 3

_OPPOSITE: Final = {FASTER: SLOWER, SLOWER: FASTER}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rate of a candidate compared with that of a reference.

    Attributes:
        verdict: ``faster`` or ``slower``: by more than noise and more than the threshold. ``same``: the whole interval
            lies within the threshold. ``cannot_tell``: none of these.
        ratio: Rate of the candidate divided by that of the reference; None if it was not measured.
        low: Lower end of the ratio's interval; None if there is no interval.
        high: Upper end of the ratio's interval; None if there is no interval.
        confidence: Probability with which all intervals that share the error contain their truths.
        blocks: Number of measurements of the one that was measured less often.
        threshold: Smallest difference that matters, as a share of the rate.
    """

    verdict: str
    ratio: float | None
    low: float | None
    high: float | None
    confidence: float
    blocks: int
    threshold: float

    @property
    def differs(self) -> bool:
        """Whether the two are shown to be different."""
        return self.verdict in _OPPOSITE

    def inverted(self) -> Comparison:
        """Return the comparison of the reference with the candidate."""
        return replace(
            self,
            verdict=_OPPOSITE.get(self.verdict, self.verdict),
            ratio=_inverse(self.ratio),
            low=_inverse(self.high),
            high=_inverse(self.low),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values. An infinite end of an interval becomes None."""
        return {name: _finite(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Comparison:
        """Restore a comparison from its JSON values. Unknown keys are ignored.

        Args:
            values: What `to_json` returned.

        Raises:
            KeyError: A key is missing.
        """
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})


def compare_blocks(
    candidate: Sequence[float],
    reference: Sequence[float],
    *,
    threshold: float = 0.02,
    confidence: float = 0.95,
    tests: float = 1,
) -> Comparison:
    """Compare two configurations that were measured in the same blocks.

    Student's interval of the mean of the logarithms of the ratios. What a block does to both cancels out. Measure the
    two in random order within each block: the bound on false differences rests on it.

    Args:
        candidate: Rate of the candidate in each block.
        reference: Rate of the reference in each block.
        threshold: Smallest difference that matters, as a share of the rate.
        confidence: Probability with which all intervals that share the error contain their truths.
        tests: Number of tests that share the error: comparisons times looks at the data (Bonferroni). If they share it
            in unequal parts, 1 / the part of this test.

    Raises:
        ValueError: The two differ in length, a rate is not positive, or an argument is out of range.
    """
    ours, theirs = _logs(candidate), _logs(reference)
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} rates are compared with {len(theirs)}; each block must have one of both")
    differences = ours - theirs
    count = len(differences)
    if count < 2:
        return verdict_of(float(differences.mean()) if count else None, None, count, threshold, confidence, tests)
    spread = float(differences.std(ddof=1)) / math.sqrt(count)
    half_width = two_sided_t(shared_error(confidence, tests), count - 1) * spread
    found = verdict_of(float(differences.mean()), half_width, count, threshold, confidence, tests)
    testable = 2 / 2**count <= 1 - confidence
    return _unless_chance(found, sign_flip_error(differences)) if found.differs and testable else found


def compare_samples(
    candidate: Sequence[float],
    reference: Sequence[float],
    *,
    threshold: float = 0.02,
    confidence: float = 0.95,
    tests: float = 1,
) -> Comparison:
    """Compare two configurations that were measured repeatedly, but not in blocks.

    Welch's interval (1947) of the difference of the mean logarithms. Drift of the host between the measurements of the
    one and of the other would look like a difference.

    Args:
        candidate: Rates of the candidate.
        reference: Rates of the reference.
        threshold: Smallest difference that matters, as a share of the rate.
        confidence: Probability with which all intervals that share the error contain their truths.
        tests: Number of tests that share the error (Bonferroni).

    Raises:
        ValueError: A rate is not positive, or an argument is out of range.
    """
    ours, theirs = _logs(candidate), _logs(reference)
    count = min(len(ours), len(theirs))
    difference = float(ours.mean() - theirs.mean()) if count else None
    if count < 2:
        return verdict_of(difference, None, count, threshold, confidence, tests)
    parts = [float(logs.var(ddof=1)) / len(logs) for logs in (ours, theirs)]
    variance = sum(parts)
    half_width = 0.0
    if variance > 0:
        shares = (part / variance for part in parts)
        degrees = 1 / sum(share**2 / (len(logs) - 1) for share, logs in zip(shares, (ours, theirs), strict=True))
        half_width = two_sided_t(shared_error(confidence, tests), degrees) * math.sqrt(variance)
    found = verdict_of(difference, half_width, count, threshold, confidence, tests)
    return _unless_chance(found, permutation_error(ours, theirs)) if found.differs else found


def compare_intervals(
    candidate: RateInterval, reference: RateInterval, *, threshold: float = 0.02, between_runs: float = 0.0
) -> Comparison:
    """Compare two single runs by the intervals of their rates (Zou and Donner 2008).

    Such intervals know the noise within each run only. What differs from run to run, such as clocks, placement in
    memory, or another mode of the host, is left out unless `between_runs` says how large it is. Repeat the runs in
    blocks where that matters.

    Args:
        candidate: Interval of the candidate's rate.
        reference: Interval of the reference's rate, with the same confidence.
        threshold: Smallest difference that matters, as a share of the rate.
        between_runs: Standard deviation from run to run, as a share of the rate.

    Raises:
        ValueError: The two have different confidences, or an argument is out of range.
    """
    if candidate.confidence != reference.confidence:
        raise ValueError(f"intervals of {candidate.confidence} and {reference.confidence} confidence are compared")
    _check_threshold(threshold)
    if not 0 <= between_runs < 1:
        raise ValueError(f"between_runs is {between_runs}; it must be from 0 to 1, such as 0.02")
    confidence = candidate.confidence
    blocks = min(candidate.blocks, reference.blocks)
    if candidate.rate is None or reference.rate is None:
        return _unknown(threshold, confidence)
    center = math.log(candidate.rate / reference.rate)
    if candidate.low is None or candidate.high is None or reference.low is None or reference.high is None:
        return Comparison(CANNOT_TELL, math.exp(center), None, None, confidence, blocks, threshold)
    run_to_run = two_sided_t(1 - confidence, math.inf) * math.sqrt(2) * between_runs
    below = math.hypot(math.log(candidate.rate / candidate.low), math.log(reference.high / reference.rate), run_to_run)
    above = math.hypot(math.log(candidate.high / candidate.rate), math.log(reference.rate / reference.low), run_to_run)
    verdict = _verdict(center, center - below, center + above, threshold)
    return Comparison(
        verdict, math.exp(center), math.exp(center - below), math.exp(center + above), confidence, blocks, threshold
    )


def verdict_of(
    center: float | None, half_width: float | None, blocks: int, threshold: float, confidence: float, tests: float = 1
) -> Comparison:
    """Return the comparison that follows from a mean difference of logarithms.

    Args:
        center: Mean difference of the logarithms; None if nothing was measured.
        half_width: Half-width of its interval; None if there is no interval.
        blocks: Number of measurements.
        threshold: Smallest difference that matters, as a share of the rate.
        confidence: Probability with which all intervals that share the error contain their truths.
        tests: Number of tests that share the error.

    Raises:
        ValueError: An argument is out of range.
    """
    shared_error(confidence, tests)
    _check_threshold(threshold)
    if center is None:
        return _unknown(threshold, confidence)
    if half_width is None:
        return Comparison(CANNOT_TELL, math.exp(center), None, None, confidence, blocks, threshold)
    low, high = center - half_width, center + half_width
    verdict = _verdict(center, low, high, threshold)
    needed = MIN_BLOCKS_TO_AGREE if verdict == SAME else MIN_BLOCKS_TO_DIFFER
    return Comparison(
        verdict if blocks >= needed else CANNOT_TELL,
        math.exp(center),
        math.exp(low),
        math.exp(high) if high < 700 else math.inf,
        confidence,
        blocks,
        threshold,
    )


def shared_error(confidence: float, tests: float) -> float:
    """Return the error of one of several tests that share it in equal parts.

    Args:
        confidence: Probability with which all tests are right.
        tests: Number of tests.

    Raises:
        ValueError: An argument is out of range.
    """
    check_confidence(confidence)
    if tests < 1:
        raise ValueError(f"tests is {tests}; it must be at least 1")
    return (1 - confidence) / tests


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold is {threshold}; it must be from 0 to 1, such as 0.02")


def _verdict(center: float, low: float, high: float, threshold: float) -> str:
    edge = math.log1p(threshold)
    if -edge <= low and high <= edge:
        return SAME
    if low > 0 and center > edge:
        return FASTER
    if high < 0 and center < -edge:
        return SLOWER
    return CANNOT_TELL


def _unless_chance(found: Comparison, error: float) -> Comparison:
    """Return the comparison; without its verdict if equal configurations differ as much too often."""
    return found if error <= 1 - found.confidence else replace(found, verdict=CANNOT_TELL)


def _logs(rates: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(rates, np.float64)
    wrong = values[~(np.isfinite(values) & (values > 0))]
    if len(wrong):
        raise ValueError(f"a rate is {wrong[0]}; all must be positive and finite")
    return np.log(values)


def _unknown(threshold: float, confidence: float) -> Comparison:
    return Comparison(CANNOT_TELL, None, None, None, confidence, 0, threshold)


def _inverse(ratio: float | None) -> float | None:
    if ratio is None:
        return None
    return 1 / ratio if ratio > 0 else math.inf


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and math.isinf(value) else value
