# SPDX-License-Identifier: MIT
"""The interval of a mean of autocorrelated values.

Batch means (Schmeiser 1982) of a run that is long compared with its memory are nearly independent. Those of a shorter
run are not, and an estimate of their autocorrelation from the run itself is too low, which makes intervals too narrow.
So no single estimate is used: the first-order autocorrelation takes each value of a grid, with its likelihood as a
weight, and the interval is that of the mixture (Zellner and Tiao 1964). The likelihood is the restricted one, whose
estimates have less bias (Cheang and Reinsel 2000).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.confidence.student import mixture_half_width

_COEFFICIENTS: Final = np.concatenate([np.linspace(0, 0.9, 46), np.linspace(0.91, 0.99, 9)])
"""Values of the first-order autocorrelation. Negative ones would narrow intervals, and are not used."""


def mean_half_width(values: NDArray[np.float64], error: float) -> float:
    """Return the half-width of the interval of a mean.

    Args:
        values: Values in order of time, of shape (periods, places). Values at the same place of a period share a mean,
            and the means of the places are averaged. Without a period, the shape is (n, 1).
        error: Probability outside of the interval, both sides together.
    """
    weights, scales = _components(values)
    if not scales.any():
        return 0.0
    return mixture_half_width(weights, scales, values.size - values.shape[1], error)


def _components(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weight and standard error of the mean for each value of the autocorrelation."""
    periods, places = values.shape
    count, degrees = values.size, values.size - places
    residuals = (values - values.mean(axis=0)).ravel()
    scale = np.abs(residuals).max()
    if scale <= 1e-12 * np.abs(values).max():
        return np.ones(1), np.zeros(1)
    residuals = residuals / scale
    design = np.tile(np.eye(places), (periods, 1))
    phi = _COEFFICIENTS
    first = np.sqrt(1 - phi**2)
    whitened = np.concatenate([first[:, None] * residuals[:1], residuals[1:] - phi[:, None] * residuals[:-1]], axis=1)
    columns = np.concatenate([first[:, None, None] * design[:1], design[1:] - phi[:, None, None] * design[:-1]], axis=1)
    normal = columns.transpose(0, 2, 1) @ columns
    moments = (columns * whitened[:, :, None]).sum(axis=1)
    fitted = np.linalg.solve(normal, moments[:, :, None])[:, :, 0]
    squares = np.maximum((whitened**2).sum(axis=1) - (fitted * moments).sum(axis=1), 1e-300)
    likelihood = np.log(first) - np.linalg.slogdet(normal)[1] / 2 - degrees / 2 * np.log(squares)
    weights = np.exp(likelihood - likelihood.max()) * np.gradient(phi)
    lags = np.arange(1, count)
    inflation = 1 + 2 * (1 - lags / count) @ phi[None, :] ** lags[:, None]
    variance = squares / degrees / (1 - phi**2) * inflation / count
    return weights / weights.sum(), np.sqrt(variance) * scale
