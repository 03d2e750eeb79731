# SPDX-License-Identifier: MIT
"""The ceilings of a card, measured on it: large matrix products, and copies within its memory.

No program reaches a data sheet's number, so MFU is against what a matrix product of 8,192³ does on this very card
after seconds of load: a card at its power limit clocks down (an H200 from 751 to 681 TFLOP/s), and a long run lives in
that state. Its SM clock is kept beside the rate: whoever compares with what is counted in cycles must know it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from virnuc_profiler.capture.sm_clock import sm_clock_reader
from virnuc_profiler.capture.target import Target, resolve_target
from virnuc_profiler.errors import UsageError

PRECISIONS: Final = ("bf16", "fp16", "tf32", "fp32")
SECONDS: Final = 4.0
"""Of load for each precision: power and clocks of an H200 settle within two."""

SIZE: Final = 8192
_COPIED_BYTES: Final = 2**30
_Value = TypeVar("_Value")
_Work = Callable[[], object]
_ReadClock = Callable[[], float | None]


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a large matrix product reaches.

    Attributes:
        precision: ``bf16``, ``fp16``, ``tf32`` or ``fp32``.
        flops_per_second: sustained; this is the ceiling for MFU.
        first_flops_per_second: at first, before the card is warm.
        sm_clock_mhz: at which the sustained rate was reached; None if it could not be read.
    """

    precision: str
    flops_per_second: float
    first_flops_per_second: float
    sm_clock_mhz: float | None = None


@dataclass(frozen=True)
class Calibration:
    """What was measured of one card, and with what.

    Attributes:
        name: of the card.
        uuid: of the card.
        driver_version: NVIDIA's; None if it could not be found out.
        torch_version: PyTorch's, with its build.
        measured_at: ISO 8601, UTC.
        ceilings: by precision.
        copy_bytes_per_second: copied within the card's memory, so twice that was moved.
    """

    name: str
    uuid: str
    driver_version: str | None
    torch_version: str
    measured_at: str
    ceilings: Mapping[str, Ceiling]
    copy_bytes_per_second: float


class Stretch(NamedTuple):
    """A stretch of work: amount per second, and the SM clock while it ran; None if that could not be read."""

    rate: float
    sm_clock_mhz: float | None = None


class Meter(Protocol):
    """Measures a card; each method returns successive stretches of work, or their rates."""

    def product_rates(self, precision: str, seconds: float) -> Sequence[Stretch]:
        """FLOP/s of matrix products, with clocks."""

    def copy_rates(self, seconds: float) -> Sequence[float]:
        """Bytes copied per second."""


def calibrate(
    target: Target, meter: Meter, *, driver_version: str | None, torch_version: str, seconds: float = SECONDS
) -> Calibration:
    """Measures every ceiling of a card.

    Args:
        target: the card.
        meter: measures it.
        driver_version: is kept with the result.
        torch_version: is kept with the result.
        seconds: of load for each.
    """
    assert target.uuid is not None
    return Calibration(
        name=target.name,
        uuid=target.uuid,
        driver_version=driver_version,
        torch_version=torch_version,
        measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        ceilings={name: ceiling_of(name, meter.product_rates(name, seconds)) for name in PRECISIONS},
        copy_bytes_per_second=_sustained(meter.copy_rates(seconds)),
    )


def ceiling_of(precision: str, stretches: Sequence[Stretch]) -> Ceiling:
    """The first rate and the sustained one, which is the median of the later half, and its clock likewise."""
    clocks = [stretch.sm_clock_mhz for stretch in _later_half(stretches) if stretch.sm_clock_mhz is not None]
    return Ceiling(
        precision,
        flops_per_second=_sustained([stretch.rate for stretch in stretches]),
        first_flops_per_second=stretches[0].rate,
        sm_clock_mhz=statistics.median(clocks) if clocks else None,
    )


def _sustained(rates: Sequence[float]) -> float:
    return statistics.median(_later_half(rates))


def _later_half(values: Sequence[_Value]) -> Sequence[_Value]:
    return values[len(values) // 2 :]


def calibration_target() -> Target:
    """PyTorch's current GPU.

    Raises:
        UsageError: there is none.
    """
    import torch

    if not torch.cuda.is_available():
        raise UsageError("calibration measures a GPU, and PyTorch sees none here: virnuc-profiler doctor says why")
    return resolve_target(f"cuda:{torch.cuda.current_device()}")


class TorchMeter:
    """Measures PyTorch's current GPU with events."""

    def __init__(self) -> None:
        import torch

        self._torch: Any = torch
        self._stretch_s = 0.1

    def product_rates(self, precision: str, seconds: float) -> Sequence[Stretch]:
        """FLOP/s of products of two 8,192² matrices, by stretches of 0.1 s, with clocks."""
        torch = self._torch
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
        left, right = (torch.randn(SIZE, SIZE, device="cuda").to(dtype) for _ in range(2))
        product = torch.empty_like(left)
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        try:
            with sm_clock_reader(calibration_target().uuid) as read_clock_mhz:
                return self._stretches(lambda: torch.mm(left, right, out=product), 2 * SIZE**3, seconds, read_clock_mhz)
        finally:
            torch.set_float32_matmul_precision(before)

    def copy_rates(self, seconds: float) -> Sequence[float]:
        """Bytes per second of copies of 1 GiB within the device's memory."""
        torch = self._torch
        source = torch.empty(_COPIED_BYTES, dtype=torch.uint8, device="cuda")
        copy = torch.empty_like(source)
        stretches = self._stretches(lambda: copy.copy_(source), _COPIED_BYTES, min(seconds, 1.0))
        return [stretch.rate for stretch in stretches]

    def _stretches(
        self, work: _Work, amount: int, seconds: float, read_clock_mhz: _ReadClock = lambda: None
    ) -> list[Stretch]:
        """Amount per second; the first call, which loads the kernel, is left out."""
        work()
        once_s, _ = self._time(work, 1, read_clock_mhz)
        times = max(1, round(self._stretch_s / once_s))
        stretches: list[Stretch] = []
        spent_s = 0.0
        while spent_s < seconds or not stretches:
            took_s, clock_mhz = self._time(work, times, read_clock_mhz)
            spent_s += took_s
            stretches.append(Stretch(amount * times / took_s, clock_mhz))
        return stretches

    def _time(self, work: _Work, times: int, read_clock_mhz: _ReadClock) -> tuple[float, float | None]:
        """Seconds that the device took, and its clock meanwhile: read before anybody waits, or it would be idle's."""
        start, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(times):
            work()
        end.record()
        clock_mhz = read_clock_mhz()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3, clock_mhz
