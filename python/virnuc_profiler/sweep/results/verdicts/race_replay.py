# SPDX-License-Identifier: MIT
"""The race of a confirmation, replayed from the journal, so that a resumed sweep goes on within its block.

The grids measure each configuration once, so their fastest one is also their luckiest one. The confirmation measures it
afresh, beside the baseline and the runner-up, until their order is known or its share of the sweep's time is used up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from virnuc_profiler.analysis.confidence.paired import MIN_BLOCKS_TO_AGREE, MIN_BLOCKS_TO_DIFFER, Comparison
from virnuc_profiler.analysis.confidence.race import Race
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.trial_length import BRIEF_SECONDS
from virnuc_profiler.sweep.results.sweep_plan import Trial
from virnuc_profiler.sweep.results.verdicts.confirmation import Contenders
from virnuc_profiler.sweep.results.verdicts.measurements import by_configuration
from virnuc_profiler.sweep.results.verdicts.standings import CONFIDENCE, THRESHOLD
from virnuc_profiler.sweep.search.finals import affordable_blocks, affordable_finalists, staying
from virnuc_profiler.targets.knobs.configuration import Configuration

SHARE: Final = 1 / 3
"""Share of the time of the steps before that the confirmation may take."""

MAX_BLOCKS: Final = 10


@dataclass(frozen=True, slots=True)
class Allowance:
    """The time of a confirmation.

    Attributes:
        allowed_sec: Seconds that it may take in all.
        trial_sec: Seconds that one of its trials is expected to take.
    """

    allowed_sec: float
    trial_sec: float

    @property
    def trials(self) -> float:
        """Number of trials that fit."""
        return self.allowed_sec / max(self.trial_sec, 1e-9)

    def blocks(self, count: int) -> int:
        """Return the number of whole blocks of this many configurations that fit.

        Args:
            count: Number of configurations in a block.
        """
        return int(self.allowed_sec / (max(self.trial_sec, 1e-9) * count) + 1e-9)


def within(contenders: Contenders, allowance: Allowance) -> Contenders | None:
    """Return the contenders that the time suffices for; None if it suffices for no verdict.

    More blocks of two tell more than few blocks of three, so the runner-up is left out unless all three fit as often as
    a difference needs.

    Args:
        contenders: All contenders.
        allowance: The time.
    """
    if len(contenders.all) < 2:
        return None
    if allowance.blocks(len(contenders.all)) >= MIN_BLOCKS_TO_DIFFER:
        return contenders
    pair = Contenders(contenders.winner, None, contenders.baseline)
    if contenders.others:
        finalists = len(contenders.all) - (contenders.baseline is not None)
        count = affordable_finalists(finalists, allowance.trials)
        return replace(contenders, others=contenders.others[: count - 2]) if count > 2 else pair
    chosen = pair if len(pair.all) == 2 else contenders
    return chosen if allowance.blocks(len(chosen.all)) >= MIN_BLOCKS_TO_AGREE else None


class Replay:
    """The race as far as the journal has it.

    Args:
        contenders: The configurations.
        allowance: The time.
        trials: All trials of the confirmation so far, with every attempt.
        objective: What is minimized.
    """

    def __init__(
        self,
        contenders: Contenders,
        allowance: Allowance,
        trials: Sequence[Trial],
        objective: Objective,
    ) -> None:
        self.contenders = contenders
        self.allowance = allowance
        self.used_sec = sum(map(_seconds, trials))
        self._by_name = {one.run_id: one for one in contenders.all}
        most = max(MIN_BLOCKS_TO_AGREE, _blocks(contenders, allowance))
        self.race = Race(
            tuple(self._by_name),
            contenders.reference.run_id,
            threshold=THRESHOLD,
            confidence=CONFIDENCE,
            max_blocks=most,
        )
        speeds: dict[int, dict[str, float]] = {}
        standing = [trial for each in by_configuration(trials).values() for trial in each]
        for trial in standing:
            cost = objective.cost(trial.result)
            if trial.result.succeeded and not trial.result.interrupted and cost is not None:
                speeds.setdefault(trial.block, {})[trial.configuration.run_id] = 1 / cost
        self._measured = len(standing)
        self._whole: list[dict[str, float]] = []
        while set(self._running()) <= speeds.get(self.race.blocks, {}).keys() and not self.race.finished:
            self._whole.append(speeds[self.race.blocks])
            self.race.add_block(speeds[self.race.blocks])
        self._current = speeds.get(self.race.blocks, {})

    @property
    def block(self) -> int:
        """Number of the block that is next, or in progress."""
        return self.race.blocks

    def missing(self) -> list[Configuration]:
        """Return what is left to measure in the current block; empty if the race is over, or another block is too long.

        A block that has begun is finished.
        """
        left = [self._by_name[name] for name in self._running() if name not in self._current]
        seconds = self.used_sec / self._measured if self._measured else self.allowance.trial_sec
        if not self._current and self.used_sec + len(left) * seconds > self.allowance.allowed_sec * (1 + 1e-9):
            return []
        return left

    def comparisons(self) -> dict[Configuration, Comparison]:
        """Return the comparison of each contender with the reference, except for the reference itself."""
        reference = self.contenders.reference
        return {one: self.race.comparison(name) for name, one in self._by_name.items() if one != reference}

    def _running(self) -> tuple[str, ...]:
        """Return what the next block measures: of the finalists of a search, those that stay."""
        running, reference = self.race.running, self.race.reference
        if not self.contenders.others:
            return running
        rivals = (self._by_name[name] for name in running if name != reference)
        kept = {one.run_id for one in staying({one: self.speeds(one) for one in rivals}, self.race.blocks)}
        return tuple(name for name in running if name in kept or name == reference)

    def speeds(self, configuration: Configuration) -> list[float]:
        """Return the reciprocal costs of a contender, one for each whole block that it ran in."""
        return [block[configuration.run_id] for block in self._whole if configuration.run_id in block]

    def leaders(self) -> tuple[Configuration, ...]:
        """Return the contenders that are not shown to be worse than another."""
        return tuple(self._by_name[name] for name in self.race.leaders())


def allowance_of(grid: Sequence[Trial], contenders: Contenders, cooldown_s: Any) -> Allowance:
    """Return the time that a confirmation may take, from what the steps before have taken.

    Args:
        grid: All trials of these steps, with every attempt.
        contenders: The configurations to compare.
        cooldown_s: Pause after each of these trials; the confirmation pauses only as long as the clean-up needs.
    """
    pause_s = float(cooldown_s) if isinstance(cooldown_s, int | float) else 0.0
    wanted = [_brief_seconds(trial, pause_s) for trial in grid if trial.configuration in contenders.all]
    return Allowance(SHARE * sum(map(_seconds, grid)), sum(wanted) / len(wanted) if wanted else 0.0)


def _blocks(contenders: Contenders, allowance: Allowance) -> int:
    """Return how many blocks a race may have."""
    if contenders.others:
        return affordable_blocks(len(contenders.all) - 1, allowance.trials)
    return min(MAX_BLOCKS, allowance.blocks(len(contenders.all)))


def _seconds(trial: Trial) -> float:
    return trial.took_sec if trial.took_sec is not None else trial.result.elapsed_sec or 0.0


def _brief_seconds(trial: Trial, pause_s: float) -> float:
    """Return how long a trial would have taken without its pause, and repeating its workload only briefly.

    What comes after start-up, such as the analysis of the run, grows with the number of batches.
    """
    result, took = trial.result, max(0.0, _seconds(trial) - pause_s)
    measured, passes = result.measured_sec or 0.0, result.passes or 1
    if not measured:
        return took
    start_up = min(result.start_up_sec or 0.0, took)
    share = min(1.0, max(1 / passes, BRIEF_SECONDS / measured))
    return start_up + (took - start_up) * share
