# SPDX-License-Identifier: MIT
"""Measure the ceilings of a GPU: the FLOP/s of a large matmul, and the rate of copies within device memory.

No program reaches the number on the data sheet. MFU therefore refers to the rate of an 8,192³ matmul on the same GPU
after seconds of load, when a GPU at its power limit has lowered its clocks (an H200 from 751 to 681 TFLOP/s). The
calibration also records the SM clock, which comparisons with counts of cycles need.
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
"""Seconds of load for each precision. Power and clocks of an H200 settle within two seconds."""

SIZE: Final = 8192
_COPIED_BYTES: Final = 2**30
_Value = TypeVar("_Value")
_Work = Callable[[], object]
_ReadClock = Callable[[], float | None]


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The rate of a large matmul in one precision.

    Attributes:
        precision: ``bf16``, ``fp16``, ``tf32`` or ``fp32``.
        flops_per_second: Sustained FLOP/s, the ceiling for MFU.
        first_flops_per_second: FLOP/s at first, before the GPU is warm.
        sm_clock_mhz: SM clock in MHz at the sustained rate. None if it could not be read.
    """

    precision: str
    flops_per_second: float
    first_flops_per_second: float
    sm_clock_mhz: float | None = None


@dataclass(frozen=True)
class Calibration:
    """The measured ceilings of one GPU, and the software that they were measured with.

    Attributes:
        name: Name of the GPU.
        uuid: UUID of the GPU as NVML reports it.
        driver_version: Version of NVIDIA's driver. None if it is unknown.
        torch_version: Version of PyTorch, with its build suffix.
        measured_at: Time of the measurement in ISO 8601, UTC.
        ceilings: Ceiling of each precision, by the precision's name.
        copy_bytes_per_second: Bytes per second copied within device memory. The traffic is twice that, as each byte is
            read and written.
    """

    name: str
    uuid: str
    driver_version: str | None
    torch_version: str
    measured_at: str
    ceilings: Mapping[str, Ceiling]
    copy_bytes_per_second: float


class RateSample(NamedTuple):
    """One timed interval of work.

    Attributes:
        rate: Amount of work per second: FLOP or bytes.
        sm_clock_mhz: SM clock in MHz during the interval. None if it could not be read.
    """

    rate: float
    sm_clock_mhz: float | None = None


class Meter(Protocol):
    """Measures rates of a GPU in successive intervals."""

    def matmul_rates(self, precision: str, seconds: float) -> Sequence[RateSample]:
        """Return the FLOP/s of matmuls and the SM clock in each interval."""

    def copy_rates(self, seconds: float) -> Sequence[float]:
        """Return the bytes copied per second in each interval."""


def calibrate(
    target: Target, meter: Meter, *, driver_version: str | None, torch_version: str, seconds: float = SECONDS
) -> Calibration:
    """Measure every ceiling of a GPU.

    Args:
        target: GPU to measure; it must have a UUID.
        meter: Meter that measures the rates.
        driver_version: Driver version to keep with the result. None if it is unknown.
        torch_version: PyTorch version to keep with the result.
        seconds: Seconds of load for each precision and for copies.
    """
    assert target.uuid is not None
    return Calibration(
        name=target.name,
        uuid=target.uuid,
        driver_version=driver_version,
        torch_version=torch_version,
        measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        ceilings={name: ceiling_from_samples(name, meter.matmul_rates(name, seconds)) for name in PRECISIONS},
        copy_bytes_per_second=_sustained(meter.copy_rates(seconds)),
    )


def ceiling_from_samples(precision: str, samples: Sequence[RateSample]) -> Ceiling:
    """Build a ceiling whose sustained rate and clock are the medians over the later half of the samples."""
    clocks = [sample.sm_clock_mhz for sample in _later_half(samples) if sample.sm_clock_mhz is not None]
    return Ceiling(
        precision,
        flops_per_second=_sustained([sample.rate for sample in samples]),
        first_flops_per_second=samples[0].rate,
        sm_clock_mhz=statistics.median(clocks) if clocks else None,
    )


def _sustained(rates: Sequence[float]) -> float:
    return statistics.median(_later_half(rates))


def _later_half(values: Sequence[_Value]) -> Sequence[_Value]:
    return values[len(values) // 2 :]


def resolve_calibration_target() -> Target:
    """Resolve PyTorch's current GPU.

    Raises:
        UsageError: PyTorch sees no GPU.
    """
    import torch

    if not torch.cuda.is_available():
        raise UsageError("calibration needs a GPU, and PyTorch sees none: run `virnuc-profiler doctor` to see why")
    return resolve_target(f"cuda:{torch.cuda.current_device()}")


class TorchMeter:
    """Measures PyTorch's current GPU with CUDA events, in intervals of 0.1 s."""

    def __init__(self) -> None:
        import torch

        self._torch: Any = torch
        self._interval_s = 0.1

    def matmul_rates(self, precision: str, seconds: float) -> Sequence[RateSample]:
        """Return the FLOP/s of 8,192³ matmuls and the SM clock in each interval."""
        torch = self._torch
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
        left, right = (torch.randn(SIZE, SIZE, device="cuda").to(dtype) for _ in range(2))
        product = torch.empty_like(left)
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        try:
            with sm_clock_reader(resolve_calibration_target().uuid) as read_clock_mhz:
                return self._samples(lambda: torch.mm(left, right, out=product), 2 * SIZE**3, seconds, read_clock_mhz)
        finally:
            torch.set_float32_matmul_precision(before)

    def copy_rates(self, seconds: float) -> Sequence[float]:
        """Return the bytes per second of 1 GiB copies within device memory, in each interval."""
        torch = self._torch
        source = torch.empty(_COPIED_BYTES, dtype=torch.uint8, device="cuda")
        copy = torch.empty_like(source)
        samples = self._samples(lambda: copy.copy_(source), _COPIED_BYTES, min(seconds, 1.0))
        return [sample.rate for sample in samples]

    def _samples(
        self, work: _Work, amount: int, seconds: float, read_clock_mhz: _ReadClock = lambda: None
    ) -> list[RateSample]:
        """Repeat `work` for `seconds`, after one unmeasured call that loads the kernel.

        Args:
            work: Function that launches the work once.
            amount: Amount of work in one call.
            seconds: Device time to fill; at least one sample is taken.
            read_clock_mhz: Function that reads the SM clock.
        """
        work()
        once_s, _ = self._time(work, 1, read_clock_mhz)
        repeats = max(1, round(self._interval_s / once_s))
        samples: list[RateSample] = []
        spent_s = 0.0
        while spent_s < seconds or not samples:
            elapsed_s, clock_mhz = self._time(work, repeats, read_clock_mhz)
            spent_s += elapsed_s
            samples.append(RateSample(amount * repeats / elapsed_s, clock_mhz))
        return samples

    def _time(self, work: _Work, repeats: int, read_clock_mhz: _ReadClock) -> tuple[float, float | None]:
        """Return the device time in seconds and the SM clock while the device works."""
        start, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(repeats):
            work()
        end.record()
        clock_mhz = read_clock_mhz()  # before synchronize(): afterwards the device is idle
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3, clock_mhz
