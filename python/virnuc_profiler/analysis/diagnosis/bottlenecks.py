# SPDX-License-Identifier: MIT
"""The names of what time was lost to, and of what a run can be bound by: one word for one thing, everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# What a gap on the device is due to.
DATA_LOADING: Final = "data_loading"
COLLATION: Final = "collation"
LAUNCHING: Final = "launching"
SYNCHRONIzING: Final = "synchronizing"
COPYING: Final = "copying"
CONSUMING: Final = "consuming"
OTHER_HOST_WORK: Final = "other_host_work"
QUEUED: Final = "queued"
"""The next stage was queued before the gap began, so the host is not to blame: the device served another stream or
process. What it takes from one stage to the next in any case (some µs) counts as launching."""
LEAD_IN: Final = "lead_in"
TAIL: Final = "tail"
NOT_MEASURED: Final = "not_measured"

# What slows a device that is kept busy.
SHARED_DEVICE: Final = "shared_device"
THROTTLING: Final = "throttling"

# What binds a run from which nothing is lost.
DEVICE_ARITHMETIC: Final = "device_arithmetic"
MEMORY_BANDWIDTH: Final = "memory_bandwidth"
DEVICE: Final = "device"
"""The device, but arithmetic and memory bandwidth cannot be told apart: GPM was not sampled."""
HOST_ARITHMETIC: Final = "host_arithmetic"
"""The model runs on the CPU, and most of the time goes into it."""

WORDS: Final[Mapping[str, str]] = {
    DATA_LOADING: "waiting for data",
    COLLATION: "collating",
    LAUNCHING: "launching",
    SYNCHRONIzING: "synchronizing",
    COPYING: "waiting in a copy",
    CONSUMING: "the consumer of results",
    OTHER_HOST_WORK: "other host work",
    QUEUED: "queued, not begun",
    LEAD_IN: "before the first batch",
    TAIL: "after the last batch",
    NOT_MEASURED: "not measured",
    SHARED_DEVICE: "a shared device",
    THROTTLING: "throttling",
    DEVICE_ARITHMETIC: "device arithmetic",
    MEMORY_BANDWIDTH: "memory bandwidth",
    DEVICE: "the device",
    HOST_ARITHMETIC: "arithmetic on the CPU",
}
"""How reports say it."""
