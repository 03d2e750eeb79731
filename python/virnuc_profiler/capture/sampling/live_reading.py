# SPDX-License-Identifier: MIT
"""The newest reading of the GPU that a profiler of this process samples, for views on a run that is still going on.

Nothing is sampled for a view: it reads what the sampling threads have recorded anyway.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from virnuc_profiler import _core
from virnuc_profiler.capture.assemble import table_rows
from virnuc_profiler.errors import VirnucError
from virnuc_profiler.telemetry.records import GpuReading

_sampling: Final[list[_core.GpuSampler]] = []


def sampling_began(sampler: _core.GpuSampler) -> None:
    """Note a sampler that has started.

    Args:
        sampler: The sampler.
    """
    _sampling.append(sampler)


def sampling_ended(sampler: _core.GpuSampler) -> None:
    """Forget a sampler, whether it was noted or not.

    Args:
        sampler: The sampler.
    """
    with suppress(ValueError):
        _sampling.remove(sampler)


def latest_reading() -> GpuReading | None:
    """Return the newest reading of the sampler that started last; None if there is none yet.

    A call copies all readings of the run, 72 bytes each. Call it about once per second.
    """
    try:
        newest = _sampling[-1].fast_readings()[-1:]
    except (IndexError, VirnucError):
        return None
    return GpuReading(**table_rows(newest)[0]) if len(newest) else None
