# SPDX-License-Identifier: MIT
"""Synthetic rates by configuration, and the noise of machines, on which searches are replayed.

A surface is a pipeline of a device, the workers that feed it and the packer between them: the slowest of them decides,
with a soft corner. Its parameters are drawn at random for each replay, so that no search can be tuned to one surface.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from virnuc_profiler.sweep.search.space import MAX_BUFFER, MIN_BUFFER, Space, build_space
from virnuc_profiler.targets.knobs.configuration import Configuration

Floats = np.ndarray[Any, np.dtype[np.float64]]

CORES: Final = 16
SEQUENCES: Final = 20_000
MEAN_TOKENS: Final = 215
FULL_BUDGET: Final = 131_072
BUDGETS: Final = tuple(round(1024 * 2 ** (step / 2)) for step in range(15))
BUFFERS: Final = tuple(round(MIN_BUFFER * 2 ** (step / 2)) for step in range(15))
WORKERS: Final = (0, 1, 2, 3, 4, 6, 8, 12, 16)
PREFETCH: Final = (1, 2, 4, 8, 16)

KINDS: Final = ("saturating", "knee", "flat", "host", "interior", "memory")
NOISES: Final = ("0.7%", "1.5%", "3%", "drift", "outliers", "modes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Rates of a machine, as shares of its device's highest.

    Attributes:
        kind: One of :data:`KINDS`, for reports.
        half_budget: Tokens of a pack at which the device reaches half of its rate.
        peak_budget: Tokens of a pack beyond which its rate falls again.
        decline: Logarithm of the rate lost with each doubling beyond that.
        worker_rate: Rate of one worker.
        worker_exponent: Power by which the rate of several workers grows with their number.
        main_rate: Rate of reading in the main process.
        cores: Workers from which on each takes `crowding` from all.
        crowding: Logarithm of the rate lost with each worker beyond `cores`.
        prefetch_loss: Share of the workers' rate that the smallest prefetch factor loses.
        packing_loss: Share of a pack that stays empty if the buffer holds one pack; it falls with the packs it holds.
        sharpness: Power of the corner between what limits: larger is sharper.
        largest_budget: Largest budget that fits into memory.
    """

    kind: str
    half_budget: float
    peak_budget: float = math.inf
    decline: float = 0.0
    worker_rate: float
    worker_exponent: float
    main_rate: float
    cores: int
    crowding: float
    prefetch_loss: float
    packing_loss: float
    sharpness: float
    largest_budget: int = FULL_BUDGET

    def rates(self, workers: Floats, prefetch: Floats, budget: Floats, buffer: Floats) -> Floats:
        """Return the rates of configurations."""
        content = buffer * MEAN_TOKENS
        filled = 1 - self.packing_loss * np.minimum(1, budget / content)
        pack = np.minimum(budget, content) * filled
        device = pack / (pack + self.half_budget) * np.sqrt(filled)
        device = device * np.exp(-self.decline * np.log2(np.maximum(1, pack / self.peak_budget)))
        workers_rate = self.worker_rate * np.maximum(workers, 1) ** self.worker_exponent
        workers_rate = workers_rate * (1 - self.prefetch_loss * np.exp(-(prefetch - 1) / 1.5))
        host = np.where(workers > 0, workers_rate, self.main_rate)
        host = host * np.exp(-self.crowding * np.maximum(0, workers - self.cores))
        found: Floats = (device**-self.sharpness + host**-self.sharpness) ** (-1 / self.sharpness)
        return found

    def rate(self, configuration: Configuration) -> float | None:
        """Return the true rate of a configuration; None if it does not fit into memory."""
        if configuration.token_budget > self.largest_budget:
            return None
        one = configuration
        values = (one.num_workers, one.prefetch_factor, one.token_budget, one.buffer_size)
        return float(self.rates(*(np.array(float(value)) for value in values)))

    def best(self) -> float:
        """Return the highest true rate on a fine grid of what fits, which holds every corner of the space."""
        budgets = [budget for budget in BUDGETS if budget <= self.largest_budget]
        axes = np.meshgrid(WORKERS, PREFETCH, budgets, (*BUFFERS, MAX_BUFFER), indexing="ij")
        return float(self.rates(*(axis.astype(np.float64) for axis in axes)).max())

    def space(self) -> Space:
        """Return the space of an adaptive search, whose budgets end where the forecast of the memory does."""
        return build_space(
            workers=CORES,
            largest_budget=self.largest_budget,
            tokens=SEQUENCES * MEAN_TOKENS,
            num_sequences=MAX_BUFFER,
            longest_tokens=MEAN_TOKENS,
        )

    def grid(self) -> list[Configuration]:
        """Return a grid of 980 configurations that an exhaustive sweep would measure, less those that do not fit."""
        return [
            Configuration(workers, prefetch, budget, buffer)
            for workers in (0, 1, 2, 4, 6, 8, 16)
            for prefetch in (2, 4, 8, 16)
            for budget in (2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072)
            for buffer in (500, 1000, 2000, 8000, 32_000)
            if budget <= self.largest_budget
        ]


def draw_surface(kind: str, random: np.random.Generator) -> Surface:
    """Draw the parameters of a surface.

    Args:
        kind: One of :data:`KINDS`.
        random: Source of the parameters.
    """

    def between(low: float, high: float) -> float:
        return float(random.uniform(low, high))

    def spread(low: float, high: float) -> float:
        return math.exp(between(math.log(low), math.log(high)))

    usual: dict[str, Any] = {
        "half_budget": spread(300, 4000),
        "worker_rate": between(0.25, 0.6),
        "worker_exponent": between(0.75, 1.0),
        "main_rate": between(0.15, 0.6),
        "cores": int(random.choice([6, 14])),
        "crowding": between(0, 0.02),
        "prefetch_loss": between(0, 0.015),
        "packing_loss": between(0.06, 0.25),
        "sharpness": between(3, 10),
    }
    special: dict[str, dict[str, Any]] = {
        "saturating": {"half_budget": spread(2000, 12_000), "worker_rate": between(0.7, 1.5)},
        "knee": {"worker_rate": between(0.15, 0.35)},
        "flat": {
            "half_budget": between(3, 15), "worker_rate": between(2, 4), "main_rate": between(2, 4), "sharpness": 10.0,
            "crowding": 0.0005, "prefetch_loss": 0.001, "packing_loss": 0.005,
        },
        "host": {
            "half_budget": between(50, 300), "worker_rate": between(0.05, 0.12), "main_rate": between(0.05, 0.15),
        },
        "interior": {
            "peak_budget": spread(12_000, 70_000), "decline": between(0.02, 0.06), "worker_rate": between(0.3, 0.8),
        },
        "memory": {"half_budget": spread(3000, 12_000), "largest_budget": int(random.choice(BUDGETS[6:12]))},
    }  # fmt: skip
    return Surface(kind=kind, **{**usual, **special[kind]})


class Noise:
    """The logarithm by which each reading is off.

    Args:
        kind: One of :data:`NOISES`: a normal spread; a drift of up to 8 % in 40 trials with a slow wave; readings that
            lose 10 to 40 %, one in twelve; or a host that runs 8 % slower in every other trial at random.
        random: Source of the noise.
    """

    def __init__(self, kind: str, random: np.random.Generator) -> None:
        self._kind = kind
        self._random = random
        self._trial = 0
        self._slope, self._phase = random.uniform(-0.08, 0.08), random.uniform(0, 2 * math.pi)

    def __call__(self, configuration: Configuration) -> float:  # noqa: ARG002  it is the same for all
        """Return the error of the next trial."""
        self._trial += 1
        random = self._random
        if self._kind.endswith("%"):
            return float(random.normal(0, float(self._kind[:-1]) / 100))
        if self._kind == "drift":
            wave = 0.01 * math.sin(self._phase + self._trial / 6)
            return float(self._slope * self._trial / 40 + wave + random.normal(0, 0.01))
        if self._kind == "outliers":
            lost = math.log(1 - random.uniform(0.1, 0.4)) if random.random() < 1 / 12 else 0.0
            return float(lost + random.normal(0, 0.01))
        return float((-0.08 if random.random() < 0.5 else 0.0) + random.normal(0, 0.007))
