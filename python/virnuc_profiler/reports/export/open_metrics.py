# SPDX-License-Identifier: MIT
"""Metrics as text, in OpenMetrics or in the older format of Prometheus.

The textfile collector of Prometheus' node exporter reads files named ``*.prom`` in the older format only, in which the
type of a counter names the sample, ``_total`` included. OpenMetrics names the family, and ends with ``# EOF``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from virnuc_profiler.telemetry.values import printable

GAUGE: Final = "gauge"
COUNTER: Final = "counter"

_MAX_LABEL: Final = 200
"""Most characters of a label; of longer ones, such as paths, the end is kept, in which they differ."""

_UNITS: Final = ("seconds", "bytes", "ratio", "watts", "hertz", "celsius")


@dataclass(frozen=True, slots=True)
class Metric:
    """A family of samples.

    Attributes:
        name: Name of the family, in base units and without ``_total``.
        kind: ``gauge``, or ``counter`` for what only grows.
        help: What is measured, in a sentence without an end.
        samples: Labels and value of each sample; a value of None is left out.
    """

    name: str
    kind: str
    help: str
    samples: Sequence[tuple[Mapping[str, str], float | None]]


def gauge(name: str, help: str, value: float | None, labels: Mapping[str, str]) -> Metric:  # noqa: A002
    """Return a family of one sample that may fall.

    Args:
        name: Name of the family.
        help: What is measured.
        value: The value; None if it is not known.
        labels: Labels of the sample.
    """
    return Metric(name, GAUGE, help, [(labels, value)])


def counter(name: str, help: str, value: float | None, labels: Mapping[str, str]) -> Metric:  # noqa: A002
    """Return a family of one sample that only grows while a process runs.

    Args:
        name: Name of the family, without ``_total``.
        help: What is counted.
        value: The value; None if it is not known.
        labels: Labels of the sample.
    """
    return Metric(name, COUNTER, help, [(labels, value)])


def render_metrics(metrics: Iterable[Metric], *, open_metrics: bool) -> str:
    """Return metrics as text; families without a known value are left out.

    Args:
        metrics: The families, each with another name.
        open_metrics: Whether the format is OpenMetrics 1.0, or else Prometheus' text format 0.0.4.
    """
    lines = [line for metric in metrics for line in _family(metric, open_metrics)]
    end = ["# EOF"] if open_metrics else []
    return "".join(f"{line}\n" for line in (*lines, *end))


def _family(metric: Metric, open_metrics: bool) -> Iterator[str]:
    known = [(labels, value) for labels, value in metric.samples if value is not None]
    if not known:
        return
    sample = f"{metric.name}_total" if metric.kind == COUNTER else metric.name
    described = metric.name if open_metrics else sample
    unit = metric.name.rpartition("_")[2]
    yield f"# HELP {described} {metric.help}"
    yield f"# TYPE {described} {metric.kind}"
    if open_metrics and unit in _UNITS:
        yield f"# UNIT {described} {unit}"
    for labels, value in known:
        inside = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        yield f"{sample}{{{inside}}} {_number(value)}"


def _escaped(text: str) -> str:
    """Return the text of a label, in which nothing can end it or control a terminal that shows it."""
    kept = text if len(text) <= _MAX_LABEL else f"…{text[1 - _MAX_LABEL :]}"
    return printable(kept, _MAX_LABEL).replace("\\", r"\\").replace('"', r"\"")


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else "+Inf" if value > 0 else "-Inf"
