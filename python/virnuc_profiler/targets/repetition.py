# SPDX-License-Identifier: MIT
"""How often a trial runs its workload: until the steady rate is known well enough, or its time is used up.

Passes are always whole, so that the sequences and tokens of a trial are multiples of those of its workload. The rule
reads only the times at which batches were delivered on the host, and only at the ends of passes; the figures of the
result come from the profiled run.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import Final

import numpy as np
import scipy.special  # noqa: F401  the first interval would import it in the middle of a run, for 0.3 s

from virnuc_profiler.analysis.confidence.rate_interval import SETTLED
from virnuc_profiler.analysis.timing.steady_state import completed_rate, pass_ends

MIN_SHARE: Final = 0.25
"""Share of the time limit before which no interval is consulted: a lucky short one would end the trial too early."""

_GROWTH: Final = 1.25
"""Factor by which the measured time grows between two looks at the interval, so that looking costs next to nothing."""


class Repetition:
    """Decides at the end of each pass whether another one follows.

    Time counts from the first delivered batch, so start-up uses up none of it.

    Args:
        tokens_per_pass: Number of tokens of one pass.
        trial_seconds: Seconds after which no further pass begins; a pass that has begun is finished.
        precision_target: Relative half-width of the steady rate's interval that is narrow enough; None to use up the
            time.
        deadline_ns: Time on the monotonic clock that no further pass may exceed; None for no limit.

    Attributes:
        passes: Number of passes that have begun.
    """

    def __init__(
        self, tokens_per_pass: int, trial_seconds: float, precision_target: float | None, deadline_ns: int | None = None
    ) -> None:
        self._tokens_per_pass = tokens_per_pass
        self._trial_ns = trial_seconds * 1e9
        self._precision_target = precision_target
        self._deadline_ns = deadline_ns
        self._times_ns: list[int] = []
        self._tokens: list[int] = []
        self._look_after_ns = MIN_SHARE * self._trial_ns
        self.passes = 1

    def deliver(self, tokens: int) -> None:
        """Note that a batch was delivered.

        Args:
            tokens: Number of its tokens.
        """
        self._times_ns.append(monotonic_ns())
        self._tokens.append(tokens)

    def another(self) -> bool:
        """Return whether another pass follows the one that has ended; some of its batches may still be in flight."""
        if not self._is_wanted():
            return False
        self.passes += 1
        return True

    def _is_wanted(self) -> bool:
        now_ns = monotonic_ns()
        measured_ns = now_ns - self._times_ns[0] if self._times_ns else 0
        if measured_ns >= self._trial_ns:
            return False
        if self._deadline_ns is not None and now_ns + measured_ns / self.passes >= self._deadline_ns:
            return False
        return not self._is_narrow_enough(measured_ns)

    def _is_narrow_enough(self, measured_ns: int) -> bool:
        if self._precision_target is None or measured_ns < self._look_after_ns or len(self._times_ns) < 2:
            return False
        self._look_after_ns = _GROWTH * measured_ns
        tokens = np.array(self._tokens, dtype=np.float64)
        ends = pass_ends(tokens, self._tokens_per_pass)
        # Only in whole passes, without the last batches of one that is in flight, is the mix of packs no noise.
        whole = int(ends[-1]) + 1 if len(ends) else len(tokens)
        found = completed_rate(np.array(self._times_ns[:whole]), tokens[:whole], ends)
        half_width = found.relative_half_width
        return found.state == SETTLED and half_width is not None and half_width <= self._precision_target
