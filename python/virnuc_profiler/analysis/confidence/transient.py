# SPDX-License-Identifier: MIT
"""The end of a run's warm-up.

The rule is MSER (White 1997): cut where the estimated standard error of the mean of the rest is smallest. Noise alone
also has such a minimum somewhere, and to cut there would make intervals too narrow. So the cut, sought in the first
half, counts only if the times before it differ from those after it by more than noise, and it moves on as long as the
next ones still differ. If that leads into the second half, the run never settled (Franklin and White 2008).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.confidence.autocorrelation import GRAIN, doubt_of_mean, trend_error
from virnuc_profiler.analysis.confidence.student import two_sided_t

_BEGIN_ERROR: Final = 0.01
"""Probability that noise alone begins a warm-up."""
_GO_ON_ERROR: Final = 0.1
"""Probability that noise alone prolongs one."""
_MARGIN: Final = 1.5
"""Factor that prolongs a warm-up: where MSER cuts, what is left of it is about as large as the noise of the mean."""
_BLOCKS: Final = 32
"""Largest number of blocks whose autocorrelation is taken into account."""


def warm_up_length(values: NDArray[np.float64]) -> int | None:
    """Return how many values at the beginning belong to the warm-up; None if these are more than half.

    Args:
        values: Times that equal amounts of work took, in order.
    """
    half = len(values) // 2
    cut = _least_error(values, half)
    if cut == 0 or not _differs(values, cut, _BEGIN_ERROR):
        return 0
    cut = math.ceil(cut * _MARGIN)
    while cut <= half:
        step = max(1, (len(values) - cut) // 5)
        if not _differs(values[cut:], step, _GO_ON_ERROR) and trend_error(_blocks(values[cut:])) > _GO_ON_ERROR:
            return cut
        cut += step
    return None


def _least_error(values: NDArray[np.float64], last: int) -> int:
    """Return the cut, at most the last, after which the standard error of the mean of the rest is smallest."""
    count = len(values)
    rest = np.arange(count, 0, -1)
    centered = values - np.median(values)
    sums = np.cumsum(centered[::-1])[::-1]
    squares = np.cumsum(centered[::-1] ** 2)[::-1]
    statistic = (squares - sums**2 / rest) / rest.astype(np.float64) ** 2
    return int(np.argmin(statistic[: last + 1]))


def _differs(values: NDArray[np.float64], cut: int, error: float) -> bool:
    """Return whether the values before a cut differ from those after it by more than noise."""
    rest = values[cut:]
    # A mean of a few correlated values varies no more than one value does.
    after = max(doubt_of_mean(_blocks(rest), error))
    before = min(after * math.sqrt(len(rest) / cut), two_sided_t(error, len(rest) - 1) * float(rest.std(ddof=1)))
    grain = GRAIN * float(rest.mean())
    return bool(abs(values[:cut].mean() - rest.mean()) > max(math.hypot(before, after), grain))


def _blocks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of at most `_BLOCKS` blocks; what is left over is at the beginning."""
    size = -(-len(values) // _BLOCKS)
    return np.asarray(values[len(values) % size :].reshape(-1, size).mean(axis=1)[:, None])
