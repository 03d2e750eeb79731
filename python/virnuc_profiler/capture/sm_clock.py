# SPDX-License-Identifier: MIT
"""The clock of a GPU's SMs, by NVML."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_log = logging.getLogger(__name__)


@contextmanager
def sm_clock_reader(uuid: str | None) -> Iterator[Callable[[], int | None]]:
    """Yields a function that reads the present SM clock in MHz, for as long as the context lasts.

    Like the sampler of runs it reads a card's clock for a MIG slice, which has none of its own. Never raises: where
    NVML does not answer, the clock is None.

    Args:
        uuid: as NVML knows the device.
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
    except Exception as error:  # not installed, no driver, or one that does not answer: all are a state
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
