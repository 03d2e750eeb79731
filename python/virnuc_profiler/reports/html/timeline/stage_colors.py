# SPDX-License-Identifier: MIT
"""Colors of stages and of causes of idle time: the same name has the same color in every page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from zlib import crc32

from virnuc_profiler.analysis.diagnosis import bottlenecks

STAGE_COLORS: Final[Mapping[str, str]] = {
    "fetch": "series-2",
    "collate": "series-7",
    "h2d": "series-3",
    "forward": "series-1",
    "pool": "series-4",
    "d2h": "series-5",
    "emit": "series-6",
}
"""Names of colors of the page's palette by stage."""

CAUSE_COLORS: Final[Mapping[str, str]] = {
    bottlenecks.SYNCHRONIZING: "series-4",
    bottlenecks.COPYING: "series-3",
    bottlenecks.QUEUED: "series-6",
    bottlenecks.DATA_LOADING: "series-2",
    bottlenecks.COLLATION: "series-7",
    bottlenecks.LAUNCHING: "series-5",
    bottlenecks.CONSUMING: "series-1",
    bottlenecks.OTHER_HOST_WORK: "series-8",
    bottlenecks.NOT_MEASURED: "line-2",
    bottlenecks.LEAD_IN: "ink-3",
    bottlenecks.TAIL: "ink-3",
}
"""Names of colors by cause. Waiting for data and collating have the color of their stages."""

_OTHERS: Final = ("series-8", "series-4", "series-3", "series-5")


def stage_color(name: str) -> str:
    """Return the name of the color of a stage, which follows from its own name alone.

    Args:
        name: Name of the stage.
    """
    return STAGE_COLORS.get(name) or _OTHERS[crc32(name.encode()) % len(_OTHERS)]
