# SPDX-License-Identifier: MIT
"""A race of configurations in blocks, which ends as soon as the answer is known.

After each block, all pairs are compared. Every pair at every look has an equal part of the error, so by the union bound
the probability that any difference is stated which does not exist is at most 1 - confidence, however the race goes.
Spending the error over the looks is the idea of Lan and DeMets (1983).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from virnuc_profiler.analysis.confidence.paired import (
    CANNOT_TELL,
    FASTER,
    MIN_BLOCKS_TO_AGREE,
    MIN_BLOCKS_TO_DIFFER,
    Comparison,
    compare_blocks,
)


class Race:
    """Configurations that are measured in blocks until it is known which are best.

    A configuration that is shown to be slower than another leaves the race. The reference stays until the end, so that
    all others can be compared with it.
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
    def tests(self) -> int:
        """Number of tests that share the error: all pairs at all looks at which a difference may be stated."""
        pairs = len(self.names) * (len(self.names) - 1) // 2
        looks = self.max_blocks - max(self.min_blocks, MIN_BLOCKS_TO_DIFFER) + 1
        return max(1, pairs) * max(1, looks)

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
        self._running = tuple(taken)
        self._blocks += 1
        if self._blocks >= self.min_blocks:
            best = self.leaders()
            self._running = tuple(name for name in self._running if name in best or name == self.reference)

    def comparison(self, name: str) -> Comparison:
        """Compare a configuration with the reference, at the error of the whole race.

        Args:
            name: Configuration.
        """
        return self._pair(name, self.reference)

    def leaders(self) -> tuple[str, ...]:
        """Return the configurations that are not shown to be slower than another: the tied."""
        measured = [name for name in self.names if len(self._rates[name]) == self._blocks or self._blocks == 0]
        return tuple(
            name
            for name in measured
            if not any(self._pair(other, name).verdict == FASTER for other in self.names if other != name)
        )

    def _decided(self) -> bool:
        leaders = self.leaders()
        pairs = [(a, b) for i, a in enumerate(leaders) for b in leaders[i + 1 :]]
        pairs += [(name, self.reference) for name in leaders if name != self.reference]
        return all(self._pair(a, b).verdict != CANNOT_TELL for a, b in pairs)

    def _pair(self, name: str, other: str) -> Comparison:
        shared = min(len(self._rates[name]), len(self._rates[other]))
        return self._compare(self._rates[name][:shared], self._rates[other][:shared])

    def _compare(self, rates: Sequence[float], others: Sequence[float]) -> Comparison:
        return compare_blocks(rates, others, threshold=self.threshold, confidence=self.confidence, tests=self.tests)
