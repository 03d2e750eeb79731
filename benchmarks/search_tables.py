# SPDX-License-Identifier: MIT
"""Recorded tables of rates, on which searches are replayed. The format is in benchmarks/data/README.md."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np

from benchmarks.trial_rows import KNOBS, read_rows
from virnuc_profiler.sweep.search.space import Space, build_space
from virnuc_profiler.targets.knobs.configuration import Configuration

_MEAN_TOKENS: Final = 215
"""Mean number of tokens of the sequences that a sweep generates."""
COLUMNS: Final = (*KNOBS, "block", "tokens_per_sec")


@dataclass(frozen=True)
class Table:
    """A recorded table: the rates of each configuration, one for each block.

    Attributes:
        name: Name of its file, without the ending.
        about: Machine, versions, model and workload: whatever the file says beside its rows.
        readings: Tokens per second of each configuration in each block; none if it did not fit.
    """

    name: str
    about: Mapping[str, Any]
    readings: Mapping[Configuration, tuple[float, ...]]

    @cached_property
    def truths(self) -> dict[Configuration, float]:
        """The geometric mean of each configuration that has rates."""
        return {one: math.exp(fmean(map(math.log, rates))) for one, rates in self.readings.items() if rates}

    @cached_property
    def errors(self) -> dict[int, list[float]]:
        """How far the logarithms of single readings lie from their means, by the budget, which the noise depends on.

        They are corrected for the few blocks, whose mean is closer to them than the truth.
        """
        found: dict[int, list[float]] = defaultdict(list)
        for one, rates in self.readings.items():
            if len(rates) > 1:
                factor = math.sqrt(len(rates) / (len(rates) - 1))
                found[one.token_budget] += [factor * math.log(rate / self.truths[one]) for rate in rates]
        return found

    def error(self, configuration: Configuration, random: np.random.Generator) -> float:
        """Draw how far the logarithm of the next reading of a configuration is off.

        Args:
            configuration: The configuration.
            random: Source of the draw.
        """
        errors = self.errors.get(self.nearest(configuration).token_budget)
        return float(random.choice(errors)) if errors else 0.0

    @property
    def largest_budget(self) -> int:
        """The largest budget with which every configuration has rates, as a forecast of the memory would say."""
        failed = [one.token_budget for one, rates in self.readings.items() if not rates]
        return max(one.token_budget for one in self.truths if one.token_budget < min(failed, default=2**31))

    def nearest(self, configuration: Configuration) -> Configuration:
        """Return the recorded configuration that resembles another one most, by the ratios of its values."""
        place = _place(configuration)
        index = int(np.argmin(((self._places - place) ** 2).sum(axis=1)))
        return self._recorded[index]

    def best(self) -> float:
        """Return the highest rate."""
        return max(self.truths.values())

    def rate(self, configuration: Configuration) -> float | None:
        """Return the rate of the nearest recorded configuration; None if it did not fit."""
        return self.truths.get(self.nearest(configuration))

    def space(self) -> Space:
        """Return the space of an adaptive search over what was recorded."""
        recorded = list(self.truths)
        workload = self.about["workload"]
        sequences = int(workload["sequences"])
        return build_space(
            workers=max(one.num_workers for one in recorded),
            largest_budget=self.largest_budget,
            tokens=int(workload.get("tokens", _MEAN_TOKENS * sequences)),
            num_sequences=min(sequences, max(one.buffer_size for one in recorded)),
            longest_tokens=min(one.token_budget for one in recorded),
        )

    def grid(self) -> list[Configuration]:
        """Return all recorded configurations."""
        return list(self.readings)

    @cached_property
    def _recorded(self) -> list[Configuration]:
        return list(self.readings)

    @cached_property
    def _places(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([_place(one) for one in self.readings])


def read_table(path: Path) -> Table:
    """Read a table.

    Args:
        path: A JSON or a CSV file.

    Raises:
        ValueError: A column is missing, a value has another form, or nothing has a rate.
    """
    about, rows = _json_rows(path) if path.suffix == ".json" else read_rows(path)
    readings: dict[Configuration, list[float]] = defaultdict(list)
    for number, row in enumerate(rows, start=1):
        configuration, rate = _reading(row, f"{path}, row {number}")
        readings[configuration] += [] if rate is None else [rate]
    if not any(readings.values()):
        raise ValueError(f"{path} has no row with tokens_per_sec")
    return Table(path.stem, about, {one: tuple(rates) for one, rates in readings.items()})


def _json_rows(path: Path) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict) or not isinstance(values.get("rows"), list):
        raise ValueError(f"{path} must be an object with the list `rows`")
    rows = values.pop("rows")
    return values, rows


def _reading(row: Mapping[str, Any], where: str) -> tuple[Configuration, float | None]:
    try:
        configuration = Configuration(*(int(row[name]) for name in KNOBS))
        int(row["block"])
        rate = row["tokens_per_sec"]
        return configuration, None if rate in (None, "") else _positive(float(rate))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error!r}; each row needs {', '.join(COLUMNS)}") from None


def _positive(rate: float) -> float:
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"tokens_per_sec is {rate}; it must be positive, or empty where the configuration failed")
    return rate


def _place(configuration: Configuration) -> np.ndarray[Any, np.dtype[np.float64]]:
    workers, *others = (getattr(configuration, name) for name in KNOBS)
    return np.log(np.array([1 + workers, *others], np.float64))
