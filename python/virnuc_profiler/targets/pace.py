# SPDX-License-Identifier: MIT
"""How many copies of a workload a target is given, so that its run is long enough to be measured. Pure.

A target reads its sequences by itself, so the number of passes is chosen before the run, from the pace of runs before.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from virnuc_profiler.targets.knobs.configuration import Configuration

MAX_TOKENS: Final = 500_000_000
"""Most tokens of all copies, which take as many bytes on the disk."""

_SHARE_OF_LIMIT: Final = 0.8
"""Share of a time limit that the passes are planned to take."""


class Pace:
    """Remembers how fast the runs of a process were.

    Args:
        timeout_s: Time limit of a run in seconds; None for none.
    """

    def __init__(self, timeout_s: float | None = None) -> None:
        self._timeout_s = timeout_s
        self._by_configuration: dict[Configuration, float] = {}
        self._latest: float | None = None
        self._start_up_s = 0.0

    def guess(self, tokens_per_s: float | None) -> None:
        """Note the pace of a warm-up, which counts only until a run was measured.

        Args:
            tokens_per_s: Tokens per second, start-up included; None if that is unknown.
        """
        if not self.is_measured:
            self._latest = tokens_per_s

    def measure(self, configuration: Configuration, tokens_per_s: float | None, start_up_s: float | None) -> None:
        """Note the pace of a measured run.

        Args:
            configuration: Its configuration.
            tokens_per_s: Tokens per second after start-up; None if that is unknown.
            start_up_s: Seconds of its start-up; None if that is unknown.
        """
        if tokens_per_s:
            self._by_configuration[configuration] = self._latest = tokens_per_s
            self._start_up_s = start_up_s or 0.0

    def measure_broken_off(self, configuration: Configuration, tokens_per_s: float) -> None:
        """Note the pace of a run whose time was up.

        Args:
            configuration: Its configuration.
            tokens_per_s: Tokens per second, start-up included.
        """
        self._by_configuration[configuration] = self._latest = tokens_per_s

    @property
    def is_measured(self) -> bool:
        """Whether a run of any configuration was measured."""
        return bool(self._by_configuration)

    def passes(self, configuration: Configuration, tokens: int, seconds: float | None) -> int:
        """Return how often to run a workload, at least once.

        Args:
            configuration: Configuration to run. Its own pace counts if it is known, or else that of the latest run.
            tokens: Tokens of one pass.
            seconds: Seconds after start-up that the run is to last; None to run the workload once.
        """
        pace = self._by_configuration.get(configuration, self._latest)
        if seconds is None or not pace or not tokens:
            return 1
        most = MAX_TOKENS / tokens
        if self._timeout_s is not None:
            most = min(most, (_SHARE_OF_LIMIT * self._timeout_s - self._start_up_s) * pace / tokens)
        return max(1, min(math.ceil(seconds * pace / tokens), int(most)))
