# SPDX-License-Identifier: MIT
"""Names of the causes of lost time and of the bottlenecks of a run, as used in code, files and reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from virnuc_profiler.telemetry.parts.start_up_records import (
    LOADING_MODEL,
    READING,
    RECORDING_GRAPHS,
    STARTING_LOADER,
    WARMING_UP,
)

# Causes of gaps on the device.
DATA_LOADING: Final = "data_loading"
COLLATION: Final = "collation"
LAUNCHING: Final = "launching"
SYNCHRONIZING: Final = "synchronizing"
COPYING: Final = "copying"
CONSUMING: Final = "consuming"
OTHER_HOST_WORK: Final = "other_host_work"
QUEUED: Final = "queued"
"""The next stage was queued before the gap began, so the device served another stream or process. The few µs that it
always takes from one stage to the next count as launching."""
LEAD_IN: Final = "lead_in"
TAIL: Final = "tail"
FIRST_BATCH: Final = "first_batch"
"""Phase of the start-up: the first batch itself, from its launch to its completion."""
WARM_UP: Final = "warm_up"
"""Phase of the start-up: what the batches after the first one took longer than later ones, up to the steady part."""
NOT_MEASURED: Final = "not_measured"

CPU_QUOTA: Final = "cpu_quota"
"""The quota of a container, which slows down all work on the host."""

# Causes that slow down a busy device.
SHARED_DEVICE: Final = "shared_device"
"""Other work was observed on the device: by NVML, or as tensor activity that the model does not explain."""
UNSTEADY_DEVICE: Final = "unsteady_device"
"""Similar batches took very different device times, for a reason that was not observed."""
THROTTLING: Final = "throttling"

# Bottlenecks of a run that loses no time.
DEVICE_ARITHMETIC: Final = "device_arithmetic"
MEMORY_BANDWIDTH: Final = "memory_bandwidth"
DEVICE: Final = "device"
"""The device. Without GPM samples, arithmetic and memory bandwidth cannot be told apart."""
HOST_ARITHMETIC: Final = "host_arithmetic"
"""Arithmetic on the CPU, on which the model runs."""

PACES: Final = frozenset({DEVICE_ARITHMETIC, MEMORY_BANDWIDTH, DEVICE, HOST_ARITHMETIC})
"""Bottlenecks that set the pace of a run. The others are causes of lost time, however small."""

LABELS: Final[Mapping[str, str]] = {
    DATA_LOADING: "waiting for data",
    COLLATION: "collating",
    LAUNCHING: "launching",
    SYNCHRONIZING: "synchronizing",
    COPYING: "waiting in a copy",
    CONSUMING: "the consumer of results",
    OTHER_HOST_WORK: "other host work",
    QUEUED: "queued, not begun",
    LEAD_IN: "before the first batch",
    TAIL: "after the last batch",
    FIRST_BATCH: "the first batch",
    WARM_UP: "further slow batches",
    STARTING_LOADER: "starting the loader",
    READING: "reading and indexing",
    LOADING_MODEL: "loading the model",
    RECORDING_GRAPHS: "recording CUDA graphs",
    WARMING_UP: "warming up",
    NOT_MEASURED: "not measured",
    CPU_QUOTA: "the CPU quota",
    SHARED_DEVICE: "a shared device",
    UNSTEADY_DEVICE: "uneven device times",
    THROTTLING: "throttling",
    DEVICE_ARITHMETIC: "device arithmetic",
    MEMORY_BANDWIDTH: "memory bandwidth",
    DEVICE: "the device",
    HOST_ARITHMETIC: "arithmetic on the CPU",
}
"""Labels of causes and bottlenecks in reports."""
