# SPDX-License-Identifier: MIT
"""Heat maps of pairs of knobs, as tables: the numbers are text, and the arrow keys move from cell to cell.

The darkest cell is the best. A scale spans at least 4 %, twice the smallest difference that matters, so that noise does
not look like a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

from markupsafe import Markup

from virnuc_profiler.reports.figures import counted, limit, rate, times
from virnuc_profiler.reports.html.safe_text import markup
from virnuc_profiler.reports.html.sweeps.result_facts import details
from virnuc_profiler.reports.sweeps.sweep_columns import TIED, reason, sequences_per_sec
from virnuc_profiler.sweep.plan.objective import ENERGY
from virnuc_profiler.sweep.results.document import Document
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.verdicts.standings import THRESHOLD
from virnuc_profiler.targets.knobs.knob import KnobValue

BEST: Final = "★"
MAX_MAPS: Final = 10
"""More pairs of knobs than these are left to the tables."""

_NARROWEST: Final = 2 * THRESHOLD
_LABEL: Final = 24
"""Characters of the longest label."""
_SHORTEST: Final = 2
"""Values that a knob must have to be one side of a map."""


def heat_maps(documents: Mapping[str, Document]) -> list[Markup]:
    """Return the maps of steps, one for each pair of the knobs that a step varies, and what was left out.

    Args:
        documents: Documents of the steps by their titles.
    """
    pairs = [
        (title, document, *pair)
        for title, document in documents.items()
        for pair in combinations([name for name, values in _tried(document).items() if len(values) >= _SHORTEST], 2)
    ]
    maps = Markup("\n").join(_map(*pair) for pair in pairs[:MAX_MAPS])
    left = len(pairs) - MAX_MAPS
    more = [Markup("<p>{}</p>").format(f"{left} further pairs of knobs are in the tables below.")] if left > 0 else []
    return [Markup('<div class="maps">{}</div>').format(maps), *more] if pairs else []


def _tried(document: Document) -> dict[str, list[KnobValue]]:
    """Return the values of each knob of a step that any configuration has, in order."""
    results = document.results
    found = {}
    for name in document.grid:
        values = dict.fromkeys(one.configuration[name] for one in results)
        given = [value for value in document.grid[name] if value in values]
        found[name] = [*given, *(value for value in values if value not in given)]
        if all(isinstance(value, int) for value in found[name]):
            found[name].sort(key=lambda value: float(value or 0))
    return found


def _map(step: str, document: Document, row_name: str, column_name: str) -> Markup:
    tried = _tried(document)
    if len(tried[column_name]) > len(tried[row_name]):  # rows cost no width
        row_name, column_name = column_name, row_name
    row_knob, column_knob = document.knobs[row_name], document.knobs[column_name]
    head = Markup("").join(
        Markup('<th scope="col">{}</th>').format(markup(column_knob.text(value), _LABEL))
        for value in tried[column_name]
    )
    first = tried[row_name][0], tried[column_name][0]

    def cell(row: KnobValue, column: KnobValue) -> Markup:
        there = [
            one
            for one in document.results
            if (one.configuration[row_name], one.configuration[column_name]) == (row, column)
        ]
        return _cell(document, there, focusable=(row, column) == first)

    body = Markup("\n").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            markup(row_knob.text(row), _LABEL), Markup("").join(cell(row, column) for column in tried[column_name])
        )
        for row in tried[row_name]
    )
    title = f"{step}: {row_knob.heading.lower()} by {column_knob.heading.lower()}"
    return Markup(
        '<figure class="map"><figcaption>{title}</figcaption><div class="scroll"><table class="heat" data-grid '
        'aria-label="{label}"><thead><tr><th class="axis" rowspan="2" scope="col">{rows}</th>'
        '<th class="axis" colspan="{count}" scope="colgroup">{columns}</th></tr><tr>{head}</tr></thead>'
        "<tbody>{body}</tbody></table></div>{scale}</figure>"
    ).format(
        count=len(tried[column_name]), scale=_scale(document),
        title=markup(title), label=markup(f"{title}: {_what(document)}"), rows=markup(row_knob.heading, _LABEL),
        columns=markup(column_knob.heading, _LABEL), head=head, body=body,
    )  # fmt: skip


def _cell(document: Document, there: Sequence[Result], *, focusable: bool) -> Markup:
    """Return a cell; the arrow keys reach those that are not in the order of Tab."""
    focus = Markup('tabindex="{}"').format(0 if focusable else -1)
    if not there:
        return Markup('<td class="empty" {} data-tip="not tried" aria-label="not tried">·</td>').format(focus)
    shown = min(there, key=lambda one: (not one.succeeded, _cost(one) or float("inf")))
    lines = [*details(document, shown)]
    if len(there) > 1:
        lines.append(f"best of {counted(len(there), 'configuration')}")
    tip = Markup("\n").join(markup(line, 400) for line in lines)
    if not shown.succeeded:
        return Markup('<td class="failed" {} data-tip="{}">{}</td>').format(focus, tip, markup(reason(shown), 40))
    is_best = document.best is not None and shown.configuration == document.best.configuration
    mark = BEST if is_best else TIED if shown.standing is not None and shown.standing.tied else ""
    held = Markup("<small>{}</small>").format(shown.outcome) if shown.throttled or shown.interrupted else ""
    return Markup(
        '<td{best} {focus} style="--heat: {heat}%" data-tip="{tip}">{gain} {mark}<small>{second}</small>{held}</td>'
    ).format(
        best=Markup(' class="best"') if is_best else "",
        focus=focus,
        heat=round(100 * _heat(document, shown)),
        tip=tip,
        gain=_gain(shown),
        mark=mark,
        second=_second(document, shown),
        held=held,
    )


def _gain(result: Result) -> str:
    return rate(sequences_per_sec(result)) if result.speedup is None else times(result.speedup, beside=None)


def _second(document: Document, result: Result) -> str:
    if document.objective.kind == ENERGY:
        return "" if result.standing is None or result.standing.cost is None else f"{result.standing.cost:.2f} J"
    return "" if result.speedup is None else f"{rate(sequences_per_sec(result))} seq/s"


def _cost(result: Result) -> float | None:
    return None if result.standing is None or result.interrupted else result.standing.cost


def _span(document: Document) -> tuple[float, float]:
    """Return the lowest cost, and the share by which speeds fall below the best at the light end of the scale."""
    costs = [cost for one in document.results if one.succeeded and (cost := _cost(one)) is not None]
    if not costs:
        return 1.0, _NARROWEST
    return min(costs), max(_NARROWEST, 1 - min(costs) / max(costs))


def _heat(document: Document, result: Result) -> float:
    cost = _cost(result)
    if cost is None:
        return 0.0
    lowest, span = _span(document)
    return max(0.0, 1 - (1 - lowest / cost) / span)


def _what(document: Document) -> str:
    return (
        "energy of the baseline over that of each" if document.objective.kind == ENERGY else "speed over the baseline's"
    )


def _scale(document: Document) -> Markup:
    _, span = _span(document)
    tied = any(one.standing is not None and one.standing.tied for one in document.results)
    signs = [f"{BEST} best", *([f"{TIED} not told apart from it"] if tied else [])]
    signs += ["striped: failed"] if any(not one.succeeded for one in document.results) else []
    energy = document.objective.kind == ENERGY
    if energy:  # a share by which the saving falls short: half of the best one takes twice, or 100 % more
        span = span / max(1 - span, 1e-9)
    more = "more energy" if energy else "slower"
    return Markup('<p class="scale"><span>{}+ {}</span><i></i><span>best</span><span>{}</span></p>').format(
        limit(round(100 * span, 1), "%"), more, " · ".join(signs)
    )


def has_maps(document: Document) -> bool:
    """Return whether a step varies two knobs or more."""
    return sum(len(values) >= _SHORTEST for values in _tried(document).values()) > 1
