# SPDX-License-Identifier: MIT
"""Propose the next configuration with Optuna's Gaussian process, which the extra ``search`` installs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.errors import UsageError
from virnuc_profiler.sweep.search.search_space import SearchSpace, is_ladder
from virnuc_profiler.targets.knobs.configuration import Configuration

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MISSING: Final = "--search adaptive needs Optuna and SciPy: pip install virnuc_profiler[search]"
"""What a user reads who has not installed the extra."""

Observation = tuple[Configuration, float]
"""A configuration and the logarithm of its rate."""


def require_optuna() -> Any:
    """Import Optuna and return it. It stays quiet: the sweep reports its own progress.

    Raises:
        UsageError: The extra ``search`` is not installed.
    """
    try:
        import optuna
        import scipy.optimize  # noqa: F401  Optuna imports it only at the first proposal
    except ImportError:
        raise UsageError(MISSING) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def propose(space: SearchSpace, observations: Sequence[Observation], seed: int) -> Configuration:
    """Return the configuration of which Optuna expects the largest improvement.

    The study is built again from what was observed, so that a proposal depends on nothing else: a search that is
    continued in another process goes on as if it had not been interrupted.

    Args:
        space: The space of the search.
        observations: What was measured so far, at least one.
        seed: Random seed of the search.

    Raises:
        UsageError: The extra ``search`` is not installed.
    """
    optuna = require_optuna()
    distributions = _distributions(space, optuna)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The surrogate estimates the noise: with a deterministic objective it would follow every lucky reading.
        sampler = optuna.samplers.GPSampler(
            seed=seed + len(observations),
            n_startup_trials=1,
            deterministic_objective=False,
            warn_independent_sampling=False,
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for configuration, value in observations:
            trial = optuna.trial.create_trial(
                params=_parameters(space, configuration), distributions=distributions, value=value
            )
            study.add_trial(trial)
        proposed = study.ask(distributions).params
    return space.configuration({name: _level(space.axes[name], value) for name, value in proposed.items()})


def _distributions(space: SearchSpace, optuna: Any) -> dict[str, BaseDistribution]:
    """Return a range of positions for each ladder, so that a step of the ladder is a step of the model."""
    integer, categorical = optuna.distributions.IntDistribution, optuna.distributions.CategoricalDistribution
    return {
        name: integer(0, len(levels) - 1) if is_ladder(levels) else categorical(levels)
        for name, levels in space.axes.items()
    }


def _parameters(space: SearchSpace, configuration: Configuration) -> dict[str, Any]:
    point = space.point(configuration)
    return {
        name: space.axes[name].index(level) if is_ladder(space.axes[name]) else level for name, level in point.items()
    }


def _level(levels: Sequence[Any], parameter: Any) -> Any:
    return levels[parameter] if is_ladder(levels) else parameter
