# SPDX-License-Identifier: MIT
"""``--metrics FILE``: the state of a running command for the textfile collector of Prometheus' node exporter."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from virnuc_profiler.cli.live.ticker import Ticker
from virnuc_profiler.errors import folder_problem
from virnuc_profiler.reports.export.open_metrics import Metric, gauge, render_metrics
from virnuc_profiler.telemetry.records import GpuReading

EVERY_S: Final = 5.0

PROMETHEUS_SUFFIX: Final = ".prom"
"""Suffix of the files that the textfile collector reads, which are in the older format."""

_log = logging.getLogger(__name__)


@contextmanager
def metrics_file(path: Path | None, metrics: Callable[[bool], Iterable[Metric]]) -> Iterator[None]:
    """Write metrics every few seconds while a block runs, and once at its end; a file that cannot be is warned of once.

    Args:
        path: The file; None to write none.
        metrics: Returns the metrics; its argument says whether the command is still running.
    """
    if path is None:
        yield
        return
    with Ticker(_Writer(path, metrics), EVERY_S):
        yield


class _Writer:
    """Writes a file again and again, so that a reader sees an old state or a new one, and never a part."""

    def __init__(self, path: Path, metrics: Callable[[bool], Iterable[Metric]]) -> None:
        self._path = path
        self._metrics = metrics
        self._warned = False

    def __call__(self, last: bool) -> None:
        text = render_metrics(self._metrics(not last), open_metrics=self._path.suffix != PROMETHEUS_SUFFIX)
        try:
            self._write(text)
        except OSError as error:
            if not self._warned:
                self._warned = True
                _log.warning(
                    "the metrics %s are not written: %s; the command goes on without them",
                    self._path, folder_problem(error),
                )  # fmt: skip

    def _write(self, text: str) -> None:
        if self._path.exists():
            if not self._path.is_file():  # a device must not become a file
                raise OSError(None, "it is no regular file")
            with self._path.open("rb") as file:
                if not b"# HELP ".startswith(file.read(7)):  # such as the sequences of the job
                    raise OSError(None, "it exists and holds no metrics")
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")  # whose suffix no collector reads
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def gpu_metrics(reading: GpuReading | None, labels: dict[str, str]) -> Iterator[Metric]:
    """Yield the metrics of the GPU, as its newest reading says; none without one.

    Args:
        reading: The reading.
        labels: Labels of the samples.
    """
    if reading is None:
        return
    utilization, power, clock = reading.utilization_percent, reading.power_mw, reading.sm_clock_mhz
    named: list[tuple[str, str, float | None]] = [
        (
            "utilization_ratio",
            "Share of time in which at least one kernel ran on the GPU, as NVML reports it",
            None if utilization is None else utilization / 100,
        ),
        ("power_watts", "Power of the GPU, as NVML reports it", None if power is None else power / 1000),
        ("memory_used_bytes", "Memory in use on the GPU, of all processes", reading.used_memory_bytes),
        ("sm_clock_hertz", "Clock of the streaming multiprocessors", None if clock is None else clock * 1_000_000),
        ("temperature_celsius", "Temperature of the GPU", reading.temperature_c),
    ]
    for name, help_text, value in named:
        yield gauge(f"virnuc_gpu_{name}", help_text, value, labels)
