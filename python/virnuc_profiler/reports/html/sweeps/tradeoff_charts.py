# SPDX-License-Identifier: MIT
"""Predicted time against memory and energy, with the configurations that no other one beats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from virnuc_profiler.reports.figures import NOT_MEASURED, number
from virnuc_profiler.reports.html.chart_frame import WHEEL_HINT, add_hover, add_points, new_figure
from virnuc_profiler.reports.html.figures_html import Figure, legend_list, themed
from virnuc_profiler.reports.html.html_table import Cell, Column, Row, html_table
from virnuc_profiler.reports.html.predicted_time import TimeUnit, unit_of
from virnuc_profiler.reports.html.sweeps.varied_knobs import VariedKnobs
from virnuc_profiler.reports.sweeps.sweep_columns import gigabytes
from virnuc_profiler.sweep.results.verdicts.pareto import Tradeoff, pareto_set
from virnuc_profiler.targets.knobs.configuration import Configuration

_HEIGHT: Final = 330
_WORDS: Final = {"joules_per_sequence": "energy", "peak_memory_gb": "memory"}


@dataclass(frozen=True)
class Tradeoffs:
    """What the configurations of a sweep cost.

    Attributes:
        all: Each configuration that succeeded every time.
        sequences: Number of sequences of the job whose time is predicted.
        recommended: The configuration that is recommended; None without one.
        baseline: Configuration of the baseline; None without one.
    """

    all: Sequence[Tradeoff]
    sequences: int
    recommended: Configuration | None
    baseline: Configuration | None

    @property
    def pareto(self) -> list[Tradeoff]:
        """Those that no other one beats in all that was measured."""
        return pareto_set(self.all)

    @property
    def unbeaten(self) -> set[Configuration]:
        """The configurations of the Pareto set, and those that cost exactly the same."""
        best = {self._costs(one) for one in self.pareto}
        return {one.configuration for one in self.all if one.predicted_sec is not None and self._costs(one) in best}

    def _costs(self, one: Tradeoff) -> tuple[float | None, ...]:
        return tuple(getattr(one, name) for name in ("predicted_sec", *self._measured))

    @property
    def _measured(self) -> list[str]:
        known = [one for one in self.all if one.predicted_sec is not None]
        return [name for name in _WORDS if all(getattr(one, name) is not None for one in known)]

    @property
    def unit(self) -> TimeUnit:
        """The unit of all predicted times, so that they can be compared."""
        return unit_of(max((one.predicted_sec or 0.0 for one in self.all), default=0.0))

    @property
    def compared(self) -> str:
        """What was measured for all configurations, in words, since the Pareto set leaves out what was not."""
        words = ["time", *(_WORDS[name] for name in self._measured)]
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


class _Look(NamedTuple):
    """How a kind of configuration is drawn, and its line in the legend."""

    kind: str
    sign: str
    marker: str
    color: str
    size: float
    meaning: str


_RECOMMENDED: Final = "recommended"
_LOOKS: Final = (
    _Look("other", "●", "circle", "series-8", 8, "configuration"),
    _Look("unbeaten", "◆", "diamond", "series-1", 10, "unbeaten in {}"),
    _Look("baseline", "■", "square", "series-2", 11, "baseline"),
    _Look(_RECOMMENDED, "◯", "circle", "ink", 16, "recommended"),
)


def tradeoff_figures(costs: Tradeoffs) -> list[Markup | Figure]:
    """Return a chart of time against memory, and one of time against energy, as far as these were measured.

    Args:
        costs: What the configurations cost.
    """
    known = [one for one in costs.all if one.predicted_sec is not None]
    found = []
    for label, name, unit in (
        ("peak memory", "peak_memory_gb", "GB"),
        ("energy", "joules_per_sequence", "J/sequence"),
    ):
        if len([one for one in known if getattr(one, name) is not None]) > 1:
            found.append(_figure(costs, known, name, f"{label}, {unit}", label))
    if not found:
        return []
    charts = [
        Figure(
            plot, caption=f"Predicted time against {label}", alternative="The table below has the same figures.",
            height=_HEIGHT, half=len(found) > 1,
        )
        for plot, label in found
    ]  # fmt: skip
    front = ("╌", "series-1", "front of each chart")
    return [legend_list([*_legend(costs), front]), *charts, Markup('<p class="hint">{}</p>').format(WHEEL_HINT)]


def tradeoff_table(costs: Tradeoffs) -> Markup:
    """Return the table of all configurations by their costs.

    Args:
        costs: What the configurations cost.
    """
    unbeaten = costs.unbeaten
    knobs = VariedKnobs(one.configuration for one in costs.all)
    rows = [
        Row(
            [
                *knobs.cells(one.configuration),
                Cell(_time(costs, one), one.predicted_sec),
                Cell(gigabytes(one.peak_memory_gb), one.peak_memory_gb),
                Cell(number(one.joules_per_sequence, 2), one.joules_per_sequence),
                Cell("yes" if one.configuration in unbeaten else "", float(one.configuration in unbeaten)),
            ],
            "chosen" if one.configuration == costs.recommended else "",
        )
        for one in sorted(costs.all, key=lambda each: each.predicted_sec or float("inf"))
    ]
    heads = [
        *knobs.columns(),
        Column(f"Time for {costs.sequences:,}", numeric=True, help="predicted for that many sequences"),
        Column("Peak memory", numeric=True), Column("J/sequence", numeric=True),
        Column("Unbeaten", help=f"none is as good in {costs.compared}, and better in one", first="descending"),
    ]  # fmt: skip
    return html_table(heads, rows, caption="What each configuration costs, medians of its measurements")


def _figure(costs: Tradeoffs, known: Sequence[Tradeoff], name: str, label: str, short: str) -> tuple[object, str]:
    unit = costs.unit
    plot = new_figure(
        label[0].upper() + label[1:], f"{unit.name.capitalize()} for {costs.sequences:,} sequences", height=_HEIGHT
    )
    shown = [one for one in known if getattr(one, name) is not None]
    _show_all(plot.x_range, [getattr(one, name) for one in shown])
    _show_all(plot.y_range, [(one.predicted_sec or 0.0) / unit.seconds for one in shown])
    front = pareto_set(_only(one, name) for one in known if getattr(one, name) is not None)
    front = sorted(front, key=lambda each: float(getattr(each, name)))
    line = plot.step(
        [getattr(one, name) for one in front], [(one.predicted_sec or 0) / unit.seconds for one in front],
        mode="after", line_dash=[4, 3], line_width=1.5,
    )  # fmt: skip
    themed(line.glyph, line_color="series-1")
    unbeaten = costs.unbeaten
    marks = []
    for look in _LOOKS:
        group = [one for one in known if getattr(one, name) is not None and look.kind in _kinds(costs, one, unbeaten)]
        if not group:
            continue
        data = {
            "x": [getattr(one, name) for one in group],
            "y": [(one.predicted_sec or 0) / unit.seconds for one in group],
            "detail": ["\n".join(_details(costs, one, unbeaten)) for one in group],
        }
        is_ring = look.kind == _RECOMMENDED  # around a point that is there already
        points = add_points(plot, data, marker=look.marker, color=look.color, size=look.size, hollow=is_ring)
        if is_ring:
            points.glyph.fill_alpha = 0
            points.glyph.line_width = 2
        else:
            marks.append(points)
    add_hover(plot, marks)
    return plot, short


def _show_all(axis: Any, values: Sequence[float]) -> None:
    """Set the ends of an axis around values, since an automatic one of equal small values reaches below 0."""
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.1 * high
    axis.start, axis.end = max(low - margin, 0.0), high + margin or 1.0


def _only(one: Tradeoff, name: str) -> Tradeoff:
    """Return the costs in time and one other quantity, for the front of one chart."""
    if name == "peak_memory_gb":
        return replace(one, joules_per_sequence=None)
    return replace(one, peak_memory_gb=None)


def _kinds(costs: Tradeoffs, one: Tradeoff, unbeaten: set[Configuration]) -> set[str]:
    config = one.configuration
    base = "baseline" if config == costs.baseline else "unbeaten" if config in unbeaten else "other"
    return {base, *([_RECOMMENDED] if config == costs.recommended else [])}


def _legend(costs: Tradeoffs) -> list[tuple[str, str, str]]:
    shown = {one.configuration for one in costs.all if one.predicted_sec is not None}
    missing = set() if costs.baseline in shown else {"baseline"}
    missing |= set() if costs.recommended in shown else {_RECOMMENDED}
    return [(look.sign, look.color, look.meaning.format(costs.compared)) for look in _LOOKS if look.kind not in missing]


def _details(costs: Tradeoffs, one: Tradeoff, unbeaten: set[Configuration]) -> Iterator[str]:
    yield str(one.configuration)
    yield f"{_time(costs, one)} for {costs.sequences:,} sequences"
    yield f"{gigabytes(one.peak_memory_gb)}, {number(one.joules_per_sequence, 2, ' J/sequence')}"
    names = [
        *(["recommended"] if one.configuration == costs.recommended else []),
        *(["baseline"] if one.configuration == costs.baseline else []),
        *(["unbeaten"] if one.configuration in unbeaten else []),
    ]
    if names:
        yield ", ".join(names)


def _time(costs: Tradeoffs, one: Tradeoff) -> str:
    unit = costs.unit
    return NOT_MEASURED if one.predicted_sec is None else number(one.predicted_sec / unit.seconds, 2, f" {unit.short}")
