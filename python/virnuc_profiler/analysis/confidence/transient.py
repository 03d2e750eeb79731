# SPDX-License-Identifier: MIT
"""The end of a run's warm-up.

The rule is MSER (White 1997): cut where the estimated standard error of the mean of the rest is smallest. A minimum in
the second half of the data means that the run never settled (Franklin and White 2008).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LAST = 5
"""So few values at the end may agree by chance; the cut is never among them."""


def warm_up_length(values: NDArray[np.float64]) -> int | None:
    """Return how many values at the beginning belong to the warm-up; None if the run never settles.

    Args:
        values: Times that equal amounts of work took, in order.
    """
    count = len(values)
    rest = np.arange(count, 0, -1)
    centered = values - np.median(values)
    sums = np.cumsum(centered[::-1])[::-1]
    squares = np.cumsum(centered[::-1] ** 2)[::-1]
    statistic = (squares - sums**2 / rest) / rest.astype(np.float64) ** 2
    cut = int(np.argmin(statistic[: max(1, count - _LAST)]))
    return cut if cut <= count // 2 else None
