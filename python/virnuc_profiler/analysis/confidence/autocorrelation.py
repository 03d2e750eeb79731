# SPDX-License-Identifier: MIT
"""Means and trends of autocorrelated values.

Batch means (Schmeiser 1982) of a run that is long compared with its memory are nearly independent. Those of a shorter
run are not, and an estimate of their autocorrelation from the run itself is too low, which makes intervals too narrow.
So no single estimate is used: the first-order autocorrelation takes each value of a grid, with its likelihood as a
weight, and the interval is that of the mixture (Zellner and Tiao 1964). The likelihood is the restricted one, whose
estimates have less bias (Cheang and Reinsel 2000).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.confidence.student import mixture_half_width, mixture_tails, two_sided_t

GRAIN: Final = 1e-6
"""Share of a value below which differences are those of the clock, and no sign of noise or a trend."""

_COEFFICIENTS: Final = np.concatenate([np.linspace(-0.4, 0.88, 33), np.linspace(0.9, 0.99, 10)])
"""Values of the first-order autocorrelation."""
# Blocks are longer than the memory of most runs, so high values are a little less likely beforehand. The exponent is
# the one with which benchmarks/interval_coverage.py finds the stated coverage.
_PRIOR: Final = np.gradient(_COEFFICIENTS) * (1 - _COEFFICIENTS) ** 0.25


class Doubt(NamedTuple):
    """How far the true mean may be from the measured one.

    Attributes:
        below: Largest distance below it.
        above: Largest distance above it.
    """

    below: float
    above: float


def doubt_of_mean(values: NDArray[np.float64], error: float) -> Doubt:
    """Return how far the true mean may be from that of the values.

    Args:
        values: Values in order of time, of shape (periods, places). Values at the same place of a period share a mean,
            and the means of the places are averaged. Without a period, the shape is (n, 1).
        error: Probability that it is further away, both sides together.
    """
    residuals, scale = _residuals(values)
    if scale == 0:
        return Doubt(0.0, 0.0)
    # Variance of the plain mean of a stationary first-order series, from that of its innovations.
    phi, lags = _COEFFICIENTS, np.arange(1, values.size)
    inflation = 1 + 2 * (1 - lags / values.size) @ phi[None, :] ** lags[:, None]
    fit = _fit(residuals, _places(values))
    variances = fit.variances / (1 - phi**2) * inflation / values.size
    half_width = mixture_half_width(fit.weights, np.sqrt(variances), fit.degrees, error)
    stretch = _stretch(residuals, two_sided_t(error, fit.degrees))
    half_width *= scale
    return Doubt(half_width * max(1 - stretch, 0.5), half_width * max(1 + stretch, 0.5))


def _stretch(residuals: NDArray[np.float64], quantile: float) -> float:
    """Return the share of the half-width by which skewed noise moves both ends of an interval up.

    It is the first term of the inverted Edgeworth expansion of Student's statistic (Hall 1983). Rare stalls are the
    usual reason: a run that met too few of them also varies too little, so its interval must reach further up.
    """
    count = len(residuals)
    skewness = float(np.mean(residuals**3) / np.mean(residuals**2) ** 1.5)
    return skewness * (2 * quantile**2 + 1) / (6 * math.sqrt(count) * quantile)


def trend_error(values: NDArray[np.float64]) -> float:
    """Return the probability that values without a trend show at least as much of one.

    Args:
        values: Values in order of time, of shape (periods, places), as for `doubt_of_mean`.
    """
    residuals, scale = _residuals(values)
    if scale == 0:
        return 1.0
    time = np.linspace(-1, 1, values.size)[:, None]
    fit = _fit(residuals, np.concatenate([_places(values), time], axis=1))
    below = mixture_tails(
        fit.weights, fit.estimates[:, -1] / np.sqrt(fit.variances * fit.inverse[:, -1, -1]), fit.degrees
    )
    return 2 * min(below, 1 - below)


class _Fit(NamedTuple):
    """Regression with autoregressive errors, for each value of the coefficient.

    Attributes:
        weights: Weight of each value; they add up to 1.
        estimates: Estimated coefficients of the design.
        inverse: Inverse of the normal matrix.
        variances: Variance of the innovations.
        degrees: Degrees of freedom.
    """

    weights: NDArray[np.float64]
    estimates: NDArray[np.float64]
    inverse: NDArray[np.float64]
    variances: NDArray[np.float64]
    degrees: int


def _fit(values: NDArray[np.float64], design: NDArray[np.float64]) -> _Fit:
    """Fit values to a design, after the transformation that makes the errors independent (Prais and Winsten 1954)."""
    phi = _COEFFICIENTS[:, None]
    degrees = len(values) - design.shape[1]
    first = np.sqrt(1 - phi**2)
    targets = np.concatenate([first * values[:1], values[1:] - phi * values[:-1]], axis=1)
    columns = np.concatenate([first[:, :, None] * design[:1], design[1:] - phi[:, :, None] * design[:-1]], axis=1)
    normal = columns.transpose(0, 2, 1) @ columns
    moments = (columns * targets[:, :, None]).sum(axis=1)
    inverse = np.linalg.inv(normal)
    estimates = (inverse @ moments[:, :, None])[:, :, 0]
    squares = np.maximum((targets**2).sum(axis=1) - (estimates * moments).sum(axis=1), 1e-300)
    likelihood = np.log(first[:, 0]) - np.linalg.slogdet(normal)[1] / 2 - degrees / 2 * np.log(squares)
    weights = np.exp(likelihood - likelihood.max()) * _PRIOR
    return _Fit(weights / weights.sum(), estimates, inverse, squares / degrees, degrees)


def _places(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the design in which each place of a period has a mean of its own."""
    periods, places = values.shape
    return np.tile(np.eye(places), (periods, 1))


def _residuals(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the deviations from the means of the places in units of the largest, and that: 0 within a grain."""
    residuals = (values - values.mean(axis=0)).ravel()
    scale = float(np.abs(residuals).max())
    if scale <= GRAIN * float(np.abs(values).max()):
        return residuals, 0.0
    return residuals / scale, scale
