# SPDX-License-Identifier: MIT
"""Cards alone and together, in turns, in processes that keep their models: what each loses when the others work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import IO, Any, Final

import numpy as np
from scipy import special

from benchmarks.progress import say
from benchmarks.scaling_worker import Reading

HEADER: Final = (
    "card", "beside it", "tokens/s", "of alone", "95 % interval",
    "SM clock", "power", "hottest", "CPU cores", "bound by",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Turn:
    """One measurement of one card.

    Attributes:
        round: Number of the round, from 0.
        card: Number of the card, from 0.
        busy: Number of cards that worked, this one included.
        reading: What it did.
    """

    round: int
    card: int
    busy: int
    reading: Reading


class Worker:
    """A process of :mod:`benchmarks.scaling_worker`.

    Args:
        card: Entry of CUDA_VISIBLE_DEVICES for its card; None on the CPU.
        cores: Cores that it may use; None for all.
        folder: Folder of its files, which exists.
        options: Options of the worker.
    """

    def __init__(self, card: str | None, cores: set[int] | None, folder: Path, options: Sequence[str]) -> None:
        command = [sys.executable, "-m", "benchmarks.scaling_worker", "--folder", str(folder), *options]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": card or ""}
        pin: Callable[[], None] | None = None if cores is None else lambda: os.sched_setaffinity(0, cores)
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=pin
        )

    def wait_until_ready(self) -> None:
        """Wait until its model is loaded and warm."""
        self._answer()

    def begin(self, seconds: float) -> None:
        """Let it measure."""
        commands: IO[str] = self._process.stdin  # type: ignore[assignment]
        commands.write(f"{seconds}\n")
        commands.flush()

    def reading(self) -> Reading:
        """Wait for what it has measured."""
        return Reading(**json.loads(self._answer()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> str:
        answers: IO[str] = self._process.stdout  # type: ignore[assignment]
        if not (line := answers.readline()):
            raise SystemExit(f"a worker has ended with exit code {self._process.wait()}; its message is above")
        return line


@contextmanager
def workers(cards: Sequence[str | None], folder: Path, options: Sequence[str], *, pin: bool) -> Iterator[list[Worker]]:
    """Start a worker for each card, and wait until all are ready.

    Args:
        cards: Entry of CUDA_VISIBLE_DEVICES for each card; None on the CPU.
        folder: Empty folder for their files.
        options: Options of each worker.
        pin: Whether each may use only its part of the cores.
    """
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        started = []
        for place, card in enumerate(cards):
            own = folder / f"card_{place}"
            own.mkdir()
            share = set(cores[place :: len(cards)]) if pin else None
            started.append(Worker(card, share, own, options))
            stack.callback(started[-1].close)
        for one in started:
            one.wait_until_ready()
        yield started


def take_turns(workers: Sequence[Worker], rounds: int, seconds: float) -> list[Turn]:
    """Measure each card alone, then the first two together, the first three, and so on, in several rounds.

    Every second round goes the other way, so that a drift of the machine affects all equally.

    Args:
        workers: The processes, all of them ready.
        rounds: Number of rounds.
        seconds: Seconds of each measurement.
    """
    turns = []
    for number in range(rounds):
        groups = [[card] for card in range(len(workers))] + [list(range(many)) for many in range(2, len(workers) + 1)]
        for group in groups if number % 2 == 0 else groups[::-1]:
            for card in group:
                workers[card].begin(seconds)
            readings = [workers[card].reading() for card in group]
            turns += [Turn(number, card, len(group), found) for card, found in zip(group, readings, strict=True)]
            rates = ", ".join(_mean([found.tokens_per_sec], "{:,.0f}") for found in readings)
            say(f"round {number + 1}, {len(group)} busy: {rates} tokens/s")
    return turns


def rows_of(turns: Sequence[Turn]) -> list[tuple[str, ...]]:
    """Return the rows of the table: a card, and how many others worked."""
    keys = sorted({(turn.card, turn.busy) for turn in turns})
    return [_row(card, busy, turns) for card, busy in keys]


def figures_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return all turns as JSON."""
    return [asdict(turn) for turn in turns]


def kept_share(turns: Sequence[Turn], card: int, busy: int) -> tuple[float, float] | None:
    """Return the rate of a card beside others over its rate alone, and the half-width of its 95 % interval.

    The geometric mean over the rounds, each compared with itself; the interval is that of a t-distribution.

    Args:
        turns: All turns.
        card: Number of the card.
        busy: Number of cards that worked.
    """
    alone, beside = (_rates(turns, card, many) for many in (1, busy))
    logs = [float(np.log(beside[each] / alone[each])) for each in alone if each in beside]
    if not logs:
        return None
    half = float(-special.stdtrit(len(logs) - 1, 0.025)) * stdev(logs) / len(logs) ** 0.5 if len(logs) > 1 else np.inf
    middle = float(np.exp(fmean(logs)))
    return middle, middle * half


def _rates(turns: Sequence[Turn], card: int, busy: int) -> Mapping[int, float]:
    return {
        turn.round: turn.reading.tokens_per_sec
        for turn in turns
        if (turn.card, turn.busy) == (card, busy) and turn.reading.tokens_per_sec
    }


def _row(card: int, busy: int, turns: Sequence[Turn]) -> tuple[str, ...]:
    found = [turn.reading for turn in turns if (turn.card, turn.busy) == (card, busy)]
    kept = None if busy == 1 else kept_share(turns, card, busy)
    share = "" if kept is None else f"{kept[0]:.3f}"
    interval = "" if kept is None or not np.isfinite(kept[1]) else f"{kept[0] - kept[1]:.3f} to {kept[0] + kept[1]:.3f}"
    return (
        str(card),
        str(busy - 1),
        _mean([one.tokens_per_sec for one in found], "{:,.0f}"),
        share,
        interval,
        _mean([one.sm_clock_mhz for one in found], "{:.0f} MHz"),
        _mean([one.watts for one in found], "{:.0f} W"),
        _mean([one.temperature_c for one in found], "{:.0f} C"),
        _mean([one.cpu_cores for one in found], "{:.2f}"),
        " or ".join(sorted({one.bound_by or "n/a" for one in found})),
    )


def _mean(values: Sequence[float | None], shown: str) -> str:
    known = [value for value in values if value is not None]
    return shown.format(fmean(known)) if known else "n/a"
