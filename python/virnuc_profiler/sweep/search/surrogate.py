# SPDX-License-Identifier: MIT
"""A Gaussian process over the measured rates, which tells a good configuration from a lucky reading.

The kernel is a sum of one term for each axis and of a product of all (Duvenaud and others 2011). Most of what a knob
does to the logarithm of the rate, it does whatever the others are, so that a dozen noisy trials share what they know.
The noise is estimated with the rest (Rasmussen and Williams 2006, chapter 5).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.sweep.search.search_space import SearchSpace
from virnuc_profiler.targets.knobs.configuration import Configuration

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float64]]

_SAMPLES: Final = 1000
_MIN_SPREAD: Final = 0.005
"""Smallest spread of the logarithms that counts as one; below, all are equal."""
_LENGTH: Final = 0.6
"""Length scale of an axis's own term, in lengths of the axis: one hill, not several."""


class Surrogate:
    """The expected logarithm of the rate at every point of a space, given what was measured.

    Args:
        space: The space of the search.
        observations: Configurations and the logarithms of their rates, at least one; repeats are welcome.
    """

    def __init__(self, space: SearchSpace, observations: Sequence[tuple[Configuration, float]]) -> None:
        import numpy as np
        from scipy import linalg, optimize

        self._space = space
        self._places = np.array([space.position(configuration) for configuration, _ in observations])
        values = np.array([value for _, value in observations])
        self._center = float(values.mean())
        self._spread = max(float(values.std()), _MIN_SPREAD)
        standard = (values - self._center) / self._spread
        squares = _squares(self._places, self._places)
        count, axes = self._places.shape

        def loss(raw: Floats) -> float:
            covariance = _kernel(squares, raw, axes) + np.eye(count) * (np.exp(raw[-1]) + 1e-6)
            try:
                factor = np.linalg.cholesky(covariance)
            except np.linalg.LinAlgError:
                return 1e9
            weighted = linalg.solve_triangular(factor, standard, lower=True)
            likelihood = -np.log(np.diag(factor)).sum() - 0.5 * weighted @ weighted
            return float(-likelihood - _log_prior(raw, axes))

        start = np.concatenate([np.full(axes, np.log(0.3)), np.zeros(axes), [np.log(0.3), np.log(0.05)]])
        bounds = [(-7.0, 2.0)] * axes + [(-3.0, 3.0)] * axes + [(-7.0, 2.0), (-9.0, 1.0)]
        self._raw = optimize.minimize(loss, start, method="L-BFGS-B", bounds=bounds).x
        covariance = _kernel(squares, self._raw, axes) + np.eye(count) * (np.exp(self._raw[-1]) + 1e-6)
        self._factor = linalg.cho_factor(covariance, lower=True)
        self._weights = linalg.cho_solve(self._factor, standard)

    @property
    def noise(self) -> float:
        """Standard deviation of one measurement, as a share of the rate."""
        return float(self._spread * math.exp(self._raw[-1] / 2))

    def expected(self, configurations: Sequence[Configuration]) -> list[float]:
        """Return the expected logarithms of the rates.

        Args:
            configurations: Any configurations of the space.
        """
        return [float(value) for value in self._mean(self._positions(configurations))]

    def best(self, excluded: Collection[Configuration] = ()) -> Configuration:
        """Return the configuration of the whole space with the highest expected rate, measured or not.

        Args:
            excluded: Configurations that are not wanted, such as those that failed.
        """
        import numpy as np

        everything = self._space.configurations
        ranked = np.argsort(-self._mean(np.array(self._space.positions)), kind="stable")
        by_expectation = [everything[int(index)] for index in ranked]
        return next((one for one in by_expectation if one not in excluded), by_expectation[0])

    def finalists(self, candidates: Sequence[Configuration], count: int, seed: int) -> tuple[Configuration, ...]:
        """Return the few candidates of which the best is expected to be fastest.

        They are not those with the highest expectations, which resemble each other: what one would gain, all would. One
        after the other, each adds most to the expected maximum, over samples of the posterior.

        Args:
            candidates: Configurations to choose from, at least one.
            count: Number of finalists.
            seed: Random seed of the samples.
        """
        import numpy as np

        places = self._positions(candidates)
        covariance = self._covariance(places) + 1e-8 * self._spread**2 * np.eye(len(candidates))
        generator = np.random.default_rng(seed)
        samples = generator.multivariate_normal(self._mean(places), covariance, size=_SAMPLES, method="eigh")
        chosen: list[int] = []
        highest = np.full(_SAMPLES, -np.inf)
        for _ in range(min(count, len(candidates))):
            gains = np.maximum(samples, highest[:, None]).mean(axis=0)
            gains[chosen] = -np.inf
            chosen.append(int(np.argmax(gains)))
            highest = np.maximum(highest, samples[:, chosen[-1]])
        return tuple(candidates[index] for index in chosen)

    def _positions(self, configurations: Sequence[Configuration]) -> Floats:
        import numpy as np

        return np.array([self._space.position(configuration) for configuration in configurations])

    def _mean(self, places: Floats) -> Floats:
        cross = _kernel(_squares(places, self._places), self._raw, self._places.shape[1])
        mean: Floats = self._center + self._spread * (cross @ self._weights)
        return mean

    def _covariance(self, places: Floats) -> Floats:
        from scipy import linalg

        axes = self._places.shape[1]
        cross = _kernel(_squares(places, self._places), self._raw, axes)
        own = _kernel(_squares(places, places), self._raw, axes)
        covariance: Floats = self._spread**2 * (own - cross @ linalg.cho_solve(self._factor, cross.T))
        return covariance


def _squares(left: Floats, right: Floats) -> Floats:
    """Return the squared distances along each axis, shape (left, right, axes)."""
    return (left[:, None, :] - right[None, :, :]) ** 2


def _kernel(squares: Floats, raw: Floats, axes: int) -> Floats:
    """Return the covariances.

    Args:
        squares: Squared distances along each axis.
        raw: Logarithms of: the variance of each axis's own term, the inverse squared lengths of the product, its
            variance, and the variance of the noise.
        axes: Number of axes.
    """
    import numpy as np

    own = _matern(squares / _LENGTH**2) @ np.exp(raw[:axes])
    covariance: Floats = own + np.exp(raw[2 * axes]) * _matern(squares @ np.exp(raw[axes : 2 * axes]))
    return covariance


def _matern(squares: Floats) -> Floats:
    """Return Matern's kernel of smoothness 5/2."""
    import numpy as np

    distance = np.sqrt(5 * squares)
    return (1 + distance + 5 * squares / 3) * np.exp(-distance)


def _log_prior(raw: Floats, axes: int) -> float:
    """Return the logarithm of the prior: moderate variances, lengths near that of an axis, little noise."""
    import numpy as np

    variances, inverse, noise = np.exp(raw[:axes]), np.exp(raw[axes : 2 * axes]), np.exp(raw[-1])
    shared = np.exp(raw[2 * axes])
    prior = -(2 * variances).sum() + 0.3 * raw[:axes].sum() - 2 * shared + 0.3 * raw[2 * axes]
    return float(prior - (0.1 / inverse + 0.1 * inverse).sum() + 0.1 * raw[-1] - 5 * noise)
