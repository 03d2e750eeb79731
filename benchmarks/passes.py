# SPDX-License-Identifier: MIT
"""Repeat a forward pass over batches that are ready for the device, without a pipeline around it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from statistics import mean
from time import perf_counter
from typing import Any, Final

import torch
from torch import Tensor

from benchmarks.gpu_state import GpuState, GpuStateReader
from benchmarks.throughput_figures import Turn

IN_FLIGHT: Final = 3
"""Batches queued on the device: enough that it never waits for the host, few enough to finish soon."""

SECONDS_BETWEEN_READINGS: Final = 0.2

FIRST_BATCHES: Final = 3
"""Batches that run once before anything is timed, because they load kernels and may compile some. If every batch has a
shape of its own, as padded ones do, all must run before the steady rate is timed: otherwise first rounds were up to a
third slower than later ones."""

_GOLDEN: Final = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Load:
    """Size of one batch: its real tokens, and the model's FLOPs on them."""

    tokens: int
    flops: int


Batch = tuple[Load, Any]
"""A load, and the argument of its launch function."""


def evenly_spread(batches: Sequence[Batch], together: int = 1) -> list[Batch]:
    """Return an order in which any stretch is a fair sample of the whole.

    Batches are sorted by length, and a turn may end in the middle of a pass. So batches are taken by the multiples of
    the golden ratio modulo 1, of which no stretch leaves a large gap.

    Args:
        batches: Batches, sorted.
        together: Number of neighbors that stay together, for models that benefit from consecutive batches of one
            length.
    """
    groups = [batches[start : start + together] for start in range(0, len(batches), together)]
    order = sorted(range(len(groups)), key=lambda i: i * _GOLDEN % 1)
    return [batch for i in order for batch in groups[i]]


class Passes:
    """Go over batches for some seconds at a time. Each turn continues where the last one ended.

    Args:
        device: Device that runs the batches.
        batches: At least one batch, in an order in which any stretch is a fair sample.
        launch: Queues a batch and returns its (B, h) embeddings without waiting for them.
        first_batches: Number of batches that run once before the steady rate is timed, at least `FIRST_BATCHES`.
    """

    def __init__(
        self,
        device: torch.device,
        batches: Sequence[Batch],
        launch: Callable[[Any], Tensor],
        first_batches: int = FIRST_BATCHES,
    ) -> None:
        self._device = device
        self._launch = launch
        self._endless = cycle(batches)
        self._first = first_batches
        self._states = GpuStateReader(device)

    @torch.inference_mode()
    def turn(self, seconds: float, warm_up_s: float) -> Turn:
        """Work for at least this long after a warm-up, until the device is done.

        Raises:
            RuntimeError: The embeddings are not finite; such numbers use less power, and so are faster.
        """
        first_pass = self._first_pass() if self._first else None
        self._work(warm_up_s)
        return replace(self._work(seconds), first_pass_tokens_per_s=first_pass)

    def _first_pass(self) -> float | None:
        """Return tokens/s while each shape runs for the first time, except for batches that load the kernels."""
        self._first_batches(FIRST_BATCHES)
        started = perf_counter()
        tokens = self._first_batches(self._first - FIRST_BATCHES)
        seconds = perf_counter() - started
        self._first = 0
        return tokens / seconds if tokens else None

    def _first_batches(self, count: int) -> int:
        """Run this many batches to their end and return their tokens."""
        chosen = list(islice(self._endless, max(0, count)))
        finite = [torch.isfinite(self._launch(batch)).all() for _, batch in chosen]
        if finite and not torch.stack(finite).all():
            raise RuntimeError("the vectors are not finite")
        return sum(load.tokens for load, _ in chosen)

    def _work(self, seconds: float) -> Turn:
        tokens = flops = 0
        states: list[GpuState | None] = []
        in_flight: deque[torch.cuda.Event] = deque()
        started = perf_counter()
        next_reading = started + SECONDS_BETWEEN_READINGS
        while (now := perf_counter()) - started < seconds:
            load, batch = next(self._endless)
            self._launch(batch)
            tokens += load.tokens
            flops += load.flops
            if self._device.type == "cuda":
                in_flight.append(torch.cuda.Event())
                in_flight[-1].record()
                if len(in_flight) == IN_FLIGHT:
                    in_flight.popleft().synchronize()
            if now >= next_reading:
                states.append(self._states.read())
                next_reading = now + SECONDS_BETWEEN_READINGS
        states.append(self._states.read())
        while in_flight:
            in_flight.popleft().synchronize()
        return Turn(perf_counter() - started, tokens, flops, *means_of(states))


def means_of(states: Sequence[GpuState | None]) -> tuple[float | None, float | None]:
    """Return mean clock and power, or None if any reading failed."""
    known = [state for state in states if state is not None]
    if not known or len(known) < len(states):
        return None, None
    return mean(state.sm_clock_mhz for state in known), mean(state.power_w for state in known)
