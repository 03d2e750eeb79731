# SPDX-License-Identifier: MIT
"""A race of configurations in blocks, which ends as soon as the answer is known.

After each block, all pairs are compared. The error is spent over the looks at the data (Lan and DeMets 1983), most of
it late, where the blocks are many enough to use it (the power family of Kim and DeMets 1987). The pairs have equal
parts of it. By the union bound, the probability that any difference is stated which does not exist is at most
1 - confidence, however the race goes. Student's interval, which each test uses, assumes independent blocks and normal
noise, but not the same noise of all configurations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from virnuc_profiler.analysis.confidence.paired import (
    CANNOT_TELL,
    FASTER,
    MIN_BLOCKS_TO_AGREE,
    MIN_BLOCKS_TO_DIFFER,
    Comparison,
    compare_blocks,
)

_LATENESS: Final = 3
"""Power of the share of blocks that the spent share of the error grows with."""


class Race:
    """Configurations that are measured in blocks until it is known which are best.

    A configuration leaves the race when it is shown to be slower than another and its comparison with the reference is
    decided. The reference stays until the end.
    """

    def __init__(
        self,
        names: Sequence[str],
        reference: str,
        *,
        threshold: float = 0.02,
        confidence: float = 0.95,
        min_blocks: int = 3,
        max_blocks: int = 10,
    ) -> None:
        """Begin a race.

        Args:
            names: Configurations, the reference among them or not.
            reference: Configuration that all others are compared with.
            threshold: Smallest difference that matters, as a share of the rate.
            confidence: Probability that no difference is stated that does not exist.
            min_blocks: Number of blocks before anything is decided.
            max_blocks: Number of blocks after which the race ends undecided.

        Raises:
            ValueError: A name occurs twice, or the numbers of blocks are out of range.
        """
        if len(set(names)) != len(names):
            raise ValueError(f"a name occurs twice in {list(names)}")
        if not MIN_BLOCKS_TO_AGREE <= min_blocks <= max_blocks:
            raise ValueError(
                f"min_blocks is {min_blocks} and max_blocks {max_blocks}; "
                f"they must be at least {MIN_BLOCKS_TO_AGREE} and in this order"
            )
        self.names = tuple(names) if reference in names else (reference, *names)
        self.reference = reference
        self.threshold = threshold
        self.confidence = confidence
        self.min_blocks = min_blocks
        self.max_blocks = max_blocks
        self._rates: dict[str, list[float]] = {name: [] for name in self.names}
        self._pairs: dict[tuple[str, str], Comparison] = {}  # of the blocks so far
        self._blocks = 0
        self._running = self.names
        self._compare([1.0], [1.0])  # refuses arguments that are out of range before anything is measured

    @property
    def running(self) -> tuple[str, ...]:
        """Configurations to measure in the next block; none if the race has finished."""
        return () if self.finished else self._running

    @property
    def blocks(self) -> int:
        """Number of blocks so far."""
        return self._blocks

    @property
    def finished(self) -> bool:
        """Whether another block could no longer change the answer, or none is left."""
        if len(self.names) < 2 or self._blocks >= self.max_blocks:
            return True
        return self._blocks >= self.min_blocks and self._decided()

    def add_block(self, rates: Mapping[str, float]) -> None:
        """Add the measurements of a block.

        Args:
            rates: Rate of each configuration that is running. One that failed is missing, and leaves the race.

        Raises:
            ValueError: The race has finished, a rate is not positive, or the reference has none.
        """
        if self.finished:
            raise ValueError("the race has finished; no block can be added")
        if self.reference not in rates:
            raise ValueError(f"the block has no rate of the reference {self.reference}; measure it again")
        taken = {name: rates[name] for name in self._running if name in rates}
        self._compare(list(taken.values()), list(taken.values()))  # refuses rates that are not positive
        for name, rate in taken.items():
            self._rates[name].append(rate)
        self._pairs.clear()
        self._running = tuple(taken)
        self._blocks += 1
        if self._blocks >= self.min_blocks:
            leaders = self.leaders()
            self._running = tuple(name for name in self._running if name in leaders or self._undecided(name))

    def comparison(self, name: str) -> Comparison:
        """Compare a configuration with the reference, at the error of the whole race.

        Args:
            name: Configuration.
        """
        return self._pair(name, self.reference)

    def leaders(self) -> tuple[str, ...]:
        """Return the configurations that are not shown to be slower than another: the tied.

        One that has left the race is none of them. There is always at least one.
        """
        measured = [name for name in self.names if len(self._rates[name]) == self._blocks]
        return tuple(
            name
            for name in measured
            if not any(self._pair(other, name).verdict == FASTER for other in measured if other != name)
        )

    def _undecided(self, name: str) -> bool:
        """Return whether a configuration is still compared with the reference; true for the reference itself."""
        return name == self.reference or self.comparison(name).verdict == CANNOT_TELL

    def _decided(self) -> bool:
        leaders = self.leaders()
        pairs = [(a, b) for i, a in enumerate(leaders) for b in leaders[i + 1 :]]
        pairs += [(name, self.reference) for name in leaders if name != self.reference]
        return all(self._pair(a, b).verdict != CANNOT_TELL for a, b in pairs)

    def _pair(self, name: str, other: str) -> Comparison:
        if (name, other) not in self._pairs:
            shared = min(len(self._rates[name]), len(self._rates[other]))
            compared = self._compare(self._rates[name][:shared], self._rates[other][:shared])
            self._pairs |= {(name, other): compared, (other, name): compared.inverted()}
        return self._pairs[name, other]

    def _compare(self, rates: Sequence[float], others: Sequence[float]) -> Comparison:
        return compare_blocks(
            rates, others, threshold=self.threshold, confidence=self.confidence, tests=self._tests(len(rates))
        )

    def _tests(self, blocks: int) -> float:
        """Return how many tests like those of one pair after this number of blocks could share the whole error.

        Looks before a difference may be stated use the part of the first look at which it may. They can only state
        that two are the same, which is wrong with half the error, so there is enough of it for them.
        """
        pairs = max(1, len(self.names) * (len(self.names) - 1) // 2)
        first = min(max(self.min_blocks, MIN_BLOCKS_TO_DIFFER), self.max_blocks)
        spent = [(look / self.max_blocks) ** _LATENESS for look in (blocks - 1, blocks)]
        share = spent[1] - spent[0] if blocks > first else (first / self.max_blocks) ** _LATENESS
        return pairs / share
