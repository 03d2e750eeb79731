# SPDX-License-Identifier: MIT
"""Noise from a few repeated measurements, for tables in which most configurations were measured once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from virnuc_profiler.analysis.confidence.paired import CANNOT_TELL, SAME, Comparison, shared_error, verdict_of
from virnuc_profiler.analysis.confidence.student import dunnett_critical


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of single measurements.

    Attributes:
        deviation: Standard deviation of the logarithm of a rate, about the relative standard deviation of the rate.
        degrees: Degrees of freedom of the estimate.
    """

    deviation: float
    degrees: int


def pooled_noise(measurements: Mapping[str, Sequence[float]]) -> Noise | None:
    """Return the noise of configurations that were measured more than once; None if there is none.

    The noise is assumed to be the same for all configurations.

    Args:
        measurements: Rates of each configuration.
    """
    repeated = [np.log(np.asarray(rates, np.float64)) for rates in measurements.values() if len(rates) > 1]
    degrees = sum(len(logs) - 1 for logs in repeated)
    if degrees == 0:
        return None
    squares = sum(float(((logs - logs.mean()) ** 2).sum()) for logs in repeated)
    return Noise(math.sqrt(squares / degrees), degrees)


def compare_with_reference(
    measurements: Mapping[str, Sequence[float]],
    reference: str,
    *,
    threshold: float = 0.02,
    confidence: float = 0.95,
) -> dict[str, Comparison]:
    """Compare all configurations with one, by the noise of those that were measured more than once.

    The intervals hold all at once (Dunnett 1955). The verdict is ``same`` or ``cannot_tell``: a single measurement
    never proves a difference.

    Args:
        measurements: Rates of each configuration; most may have one only.
        reference: Configuration that all others are compared with.
        threshold: Smallest difference that matters, as a share of the rate.
        confidence: Probability with which all intervals contain their truths.

    Returns:
        The comparison of each configuration except for the reference, in the order of `measurements`.

    Raises:
        ValueError: The reference was not measured, or an argument is out of range.
    """
    base = measurements.get(reference, ())
    if len(base) == 0:
        raise ValueError(f"the reference {reference} was not measured")
    noise = pooled_noise(measurements)
    others = {name: rates for name, rates in measurements.items() if name != reference and len(rates)}
    error = shared_error(confidence, 1)
    critical = 0.0
    if noise is not None and others and noise.deviation > 0:
        counts = np.array([len(rates) for rates in others.values()])
        critical = dunnett_critical(counts, len(base), noise.degrees, error)
    center = float(np.log(base).mean())
    found = {}
    for name, rates in others.items():
        width = None
        if noise is not None:
            width = critical * noise.deviation * math.sqrt(1 / len(rates) + 1 / len(base))
        difference = float(np.log(rates).mean()) - center
        repeats = noise.degrees + 1 if noise else 0  # of one configuration, which would know the noise as well
        compared = verdict_of(difference, width, repeats, threshold, confidence)
        verdict = SAME if compared.verdict == SAME else CANNOT_TELL
        found[name] = replace(compared, verdict=verdict, blocks=min(len(rates), len(base)))
    return found
