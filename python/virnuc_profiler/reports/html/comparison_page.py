# SPDX-License-Identifier: MIT
"""The page of a comparison of two sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

from markupsafe import Markup

from virnuc_profiler.analysis.comparison.compared import Compared
from virnuc_profiler.analysis.comparison.effects import Effect
from virnuc_profiler.analysis.comparison.measured_run import Side
from virnuc_profiler.analysis.comparison.metrics import AMOUNT, CANNOT_TELL, SAME
from virnuc_profiler.reports.comparison.comparison_rows import (
    HEADINGS,
    change_text,
    configuration_reasons,
    configuration_table,
    difference_cells,
    effect_cells,
    headline,
    interval_sentence,
    interval_text,
    reason_sentence,
    side_text,
    sweep_sentences,
)
from virnuc_profiler.reports.figures import NOT_MEASURED, counted, limit
from virnuc_profiler.reports.html.chart_frame import WHEEL_HINT, add_hover, add_points, new_figure
from virnuc_profiler.reports.html.figures_html import Figure, themed
from virnuc_profiler.reports.html.html_table import Cell, Column, Row, bullet_list, html_table
from virnuc_profiler.reports.html.page import Answer, Fact, Section, Tone, render_page
from virnuc_profiler.reports.html.safe_text import chart_text

_ROW: Final = 30
_FRAME: Final = 96
_LEGEND: Final = (
    ("▲", "series-3", "better"), ("▼", "series-5", "worse"), ("●", "series-8", "same, or not told"),
    ("○", "series-8", "no interval"),
)  # fmt: skip


def render_comparison_page(compared: Compared) -> str:
    """Return the page of a comparison.

    Args:
        compared: The comparison.
    """
    sections = [_metrics(compared)]
    if compared.configurations:
        sections.append(_configurations(compared))
    sections.append(_differences(compared))
    fine = [Section("fine-notes", "How to read it", [bullet_list([interval_sentence(compared), *compared.notes])])]
    fine += [_files(name, side) for name, side in _sides(compared)]
    reference, candidate = _short_names(compared.reference.name, compared.candidate.name)
    title = f"{candidate} against {reference}"
    return render_page(title, _answer(compared), sections, fine, kind="Comparison")


def _short_names(one: str, other: str) -> tuple[str, str]:
    """Return as many of the last parts of two paths as tell them apart."""
    parts, others = one.rstrip("/").split("/"), other.rstrip("/").split("/")
    for count in range(1, max(len(parts), len(others))):
        if parts[-count:] != others[-count:]:
            return "/".join(parts[-count:]), "/".join(others[-count:])
    return one, other


def _files(name: str, side: Side) -> Section:
    sources = bullet_list(run.source for run in side.runs)
    what = counted(len(side.runs), "trial" if side.is_sweep else "run")
    folded = Markup("<details><summary>{}</summary>{}</details>").format(what, sources)
    return Section(f"fine-{name.lower()}", f"{name}: {side_text(side)}", [folded])


def _sides(compared: Compared) -> tuple[tuple[str, Side], tuple[str, Side]]:
    return ("Reference", compared.reference), ("Candidate", compared.candidate)


def _answer(compared: Compared) -> Answer:
    main = compared.main_effect
    sentences: list[str] = [f"{name}: {side_text(side)}." for name, side in _sides(compared)]
    sentences += [f"Warning: {warning}" for warning in compared.warnings]
    sentences += sweep_sentences(compared)
    tone: Tone = "neutral"
    if main is not None:
        tone = "warning" if main.direction == CANNOT_TELL else _tone(main) or "neutral"
    if compared.warnings and tone in ("good", "neutral"):
        tone = "warning"
    facts = [_fact(effect) for effect in compared.effects if effect.ratio is not None][:5]
    return Answer(headline(compared), sentences, facts, tone=tone)


def _fact(effect: Effect) -> Fact:
    interval = interval_text(effect)
    note = "" if interval == NOT_MEASURED else f"{interval}{'' if interval == 'exact' else '%'}, "
    return Fact(effect.metric.label, change_text(effect), f"{note}{effect.verdict}")


def _metrics(compared: Compared) -> Section:
    parts: list[Any] = []
    named = [(effect.metric.label, effect) for effect in compared.effects]
    if figure := _figure(compared, named, "Each metric, candidate over reference"):
        parts.append(figure)
    rows = [_row([effect.metric.label], effect) for effect in compared.effects]
    parts.append(html_table(["Metric", *_heads()], rows, caption="All metrics"))
    parts.append(bullet_list(filter(None, [reason_sentence(compared.effects)])))
    return Section("metrics", "Metrics", parts)


def _configurations(compared: Compared) -> Section:
    (head, *rows) = configuration_table(compared)
    left = len(head) - len(HEADINGS)
    names = [", ".join(f"{name} {value}" for name, value in zip(head[:left], row[:left], strict=True)) for row in rows]
    effects = [effect for _, effect in compared.configurations]
    label = effects[0].metric.label
    parts: list[Any] = []
    if figure := _figure(compared, list(zip(names, effects, strict=True)), f"{label} of each configuration"):
        parts.append(figure)
    table = [_row(row[:left], effect) for row, effect in zip(rows, effects, strict=True)]
    heads = [
        Column(name, numeric=all(_is_number(row[place]) for row in rows)) for place, name in enumerate(head[:left])
    ]
    parts.append(html_table([*heads, *_heads()], table, caption=f"{label}, by configuration"))
    parts.append(bullet_list(filter(None, [configuration_reasons(compared)])))
    return Section("configurations", "Configurations", parts)


def _differences(compared: Compared) -> Section:
    rows = list(map(difference_cells, compared.differences))
    if not rows:
        return Section("differences", "What differs", ["Nothing that is recorded."])
    return Section("differences", "What differs", [html_table(["What", "Reference", "Candidate"], rows)])


def _heads() -> list[Column]:
    numeric = [Column(name, numeric=True, first="descending") for name in HEADINGS[:-1]]
    return [*numeric, Column(HEADINGS[-1])]


def _row(names: Sequence[str], effect: Effect) -> Row:
    cells = effect_cells(effect)
    keys = (effect.reference, effect.candidate, effect.ratio, effect.low)
    left = [Cell(name, float(name) if _is_number(name) else name) for name in names]
    figures = [Cell(text, key) for text, key in zip(cells[:-1], keys, strict=True)]
    return Row([*left, *figures, Cell(cells[-1], cells[-1], effect.reason or "", _tone(effect))])


def _tone(effect: Effect) -> Literal["", "good", "bad"]:
    """Return what an effect means; nothing for one that is the same, cannot be told, or is neither good nor bad."""
    if effect.is_worse:
        return "bad"
    shown = effect.direction not in (SAME, CANNOT_TELL)
    return "good" if shown and (effect.metric.kind != AMOUNT or effect.metric.better is not None) else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _figure(compared: Compared, named: Sequence[tuple[str, Effect]], caption: str) -> Figure | None:
    """Return the chart of the changes; None where none was measured, or all are exact and the same."""
    known = [(name, one) for name, one in named if one.ratio and (one.high or 0) < float("inf")]
    if not any(one.ratio != 1 for _, one in known):
        return None
    from bokeh.models.annotations import BoxAnnotation, Span

    labels = list(_unique(chart_text(name, 48) for name, _ in known))
    height = _FRAME + _ROW * len(known)
    plot = new_figure("Change, %", "", height=height, y_range=[*reversed(labels)])
    plot.ygrid.grid_line_color = None
    threshold = 100 * compared.rule.threshold
    band = BoxAnnotation(left=-threshold, right=threshold, fill_alpha=0.6, line_color=None, level="underlay")
    themed(band, fill_color="raised")
    zero = Span(location=0, dimension="height", line_width=1)
    themed(zero, line_color="line-2")
    plot.add_layout(band)
    plot.add_layout(zero)
    marks = []
    for tone, interval, color, marker in (
        ("good", True, "series-3", "triangle"), ("bad", True, "series-5", "inverted_triangle"),
        ("", True, "series-8", "circle"), ("", False, "series-8", "circle"),
    ):  # fmt: skip
        pairs = zip(labels, known, strict=True)
        group = [
            (label, *each) for label, each in pairs if (_tone(each[1]), each[1].low is not None) == (tone, interval)
        ]
        if not group:
            continue
        data: dict[str, list[Any]] = {
            "y": [label for label, _, _ in group],
            "x": [_percent(one.ratio) for _, _, one in group],
            "detail": [f"{name}\n{change_text(one)} ({interval_text(one)}), {one.verdict}" for _, name, one in group],
        }
        if interval:
            ends = {name: [_percent(getattr(one, name)) for _, _, one in group] for name in ("low", "high")}
            source = {"y": data["y"], **ends}
            bars = plot.hbar(
                y="y", left="low", right="high", height=0.2, line_color=None, fill_alpha=0.4, source=source
            )
            themed(bars.glyph, fill_color=color)
        marks.append(add_points(plot, data, marker=marker, color=color, hollow=not interval))
    add_hover(plot, marks)
    text = " ".join(f"{name}: {change_text(one)} ({interval_text(one)}), {one.verdict}." for name, one in known)
    return Figure(
        plot, caption=f"{caption}, with its interval; the gray band is the same within {limit(threshold, '%')}",
        alternative=text, height=height, hint=WHEEL_HINT,
        legend=_LEGEND,
    )  # fmt: skip


def _percent(ratio: float | None) -> float:
    return 100 * ((ratio or 0.0) - 1)


def _unique(names: Iterator[str]) -> Iterator[str]:
    """Yield names that differ, since an axis takes each only once."""
    seen: dict[str, int] = {}
    for name in names:
        count = seen[name] = seen.get(name, 0) + 1
        yield name if count == 1 else f"{name} ({count})"
