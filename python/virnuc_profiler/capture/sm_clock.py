# SPDX-License-Identifier: MIT
"""Read the SM clock of a GPU through NVML."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_log = logging.getLogger(__name__)


@contextmanager
def sm_clock_reader(uuid: str | None) -> Iterator[Callable[[], int | None]]:
    """Yield a function that reads the current SM clock in MHz while the context lasts.

    A MIG slice has no clock of its own, so the function reads the clock of the whole GPU, as the sampler of runs does.
    It never raises: the clock is None where NVML does not answer.

    Args:
        uuid: UUID of the device as NVML reports it. None gives a clock of None.
    """
    nvml = _started_nvml()
    if nvml is None:
        yield lambda: None
        return
    try:
        card = _answer(lambda: _card(nvml, uuid))
        yield lambda: None if card is None else _answer(lambda: _clock_mhz(nvml, card))
    finally:
        _answer(lambda: nvml.nvmlShutdown())


def _started_nvml() -> Any:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception as error:  # pynvml not installed, no driver, or a driver that does not answer
        _log.debug("no SM clock: %s", error)
        return None
    return pynvml


def _card(nvml: Any, uuid: str | None) -> Any:
    if uuid is None:
        return None
    device = nvml.nvmlDeviceGetHandleByUUID(uuid)
    return nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device) if uuid.startswith("MIG-") else device


def _clock_mhz(nvml: Any, card: Any) -> int | None:
    return nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM) or None


def _answer(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except Exception as error:
        _log.debug("no SM clock: %s", error)
        return None
