# SPDX-License-Identifier: MIT
"""Charts of a page: Bokeh models whose colors follow the theme, as JSON that the page draws when it comes into view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from virnuc_profiler.errors import LibraryUnavailable
from virnuc_profiler.reports.html.palette import COLORS

if TYPE_CHECKING:
    from bokeh.model import Model

_THEME: Final = "theme"
"""Key of the tag that names the colors of a model; see ``assets/page.js``."""


@dataclass(frozen=True)
class Figure:
    """A chart of a page.

    Attributes:
        model: Bokeh model: a figure, or a layout of several that share ranges. Its width follows the page.
        caption: What the chart shows, in a sentence.
        alternative: The same for those who do not see the chart: a sentence with the figures that matter, or the
            markup of a table.
        height: Height in pixels, which is kept free until the chart is drawn.
        webgl: Whether it draws with WebGL, which adds 0.2 MB to the page.
        hint: How to use the chart beyond the keys and gestures that all charts have.
        legend: Sign, name of its color, and meaning of each kind of mark; see :func:`legend_list`.
        half: Whether it takes half the width of the page, beside another one, where the page is wide enough.
    """

    model: Any
    caption: str
    alternative: str | Markup = ""
    height: int = 320
    webgl: bool = False
    hint: str = ""
    legend: Sequence[tuple[str, str, str]] = ()
    half: bool = False


def legend_list(entries: Sequence[tuple[str, str, str]]) -> Markup:
    """Return the markup of the legend that several charts share.

    Args:
        entries: Sign, name of its color, and meaning of each kind of mark.
    """
    items = (
        Markup('<li><span aria-hidden="true" style="color: var(--{})">{}</span> {}</li>').format(color, sign, meaning)
        for sign, color, meaning in entries
    )
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def require_bokeh() -> None:
    """Check that Bokeh can be imported.

    Raises:
        LibraryUnavailable: It cannot; the message says how to install it.
    """
    try:
        import_module("bokeh")
    except ImportError as error:
        raise LibraryUnavailable(
            f"HTML reports need bokeh, which cannot be imported ({error}): pip install 'virnuc_profiler[html]'"
        ) from error


def themed(model: Model, **colors: str) -> None:
    """Give properties of a Bokeh model colors that follow the theme of the page.

    Args:
        model: Model such as a glyph or an annotation.
        **colors: Name of a color of the palette by property, such as ``line_color="series-1"``.
    """
    tags = [tag for tag in model.tags if not (isinstance(tag, dict) and _THEME in tag)]
    earlier = [tag[_THEME] for tag in model.tags if isinstance(tag, dict) and _THEME in tag]
    merged = {name: value for one in [*earlier, colors] for name, value in one.items()}
    for name, value in colors.items():
        setattr(model, name, COLORS[value][0])
    model.tags = [*tags, {_THEME: merged}]


def figure_json(figure: Figure, target: str) -> Any:
    """Return the JSON of a chart that the page's script draws.

    Args:
        figure: The chart.
        target: Id of the element that it is drawn into.
    """
    from bokeh.core.types import ID
    from bokeh.embed import json_item

    for model in figure.model.references():
        _follow_theme(model)
    return json_item(figure.model, ID(target))


def bokeh_scripts(*, webgl: bool) -> list[str]:
    """Return the JavaScript of the installed Bokeh.

    Args:
        webgl: Whether a chart draws with WebGL.
    """
    from bokeh.util.paths import bokehjs_path

    names = ["bokeh", *(["bokeh-gl"] if webgl else [])]
    return [(Path(bokehjs_path()) / "js" / f"{name}.min.js").read_text(encoding="utf-8") for name in names]


def _follow_theme(model: Model) -> None:
    """Give the frame of a chart the colors of the page, unless it has some of its own, or none."""
    from bokeh.models import Axis, Grid, Plot
    from bokeh.models.annotations import Legend, Title

    frame: list[tuple[type[Model], dict[str, str]]] = [
        (Axis, {"axis_line_color": "line-2", "major_tick_line_color": "line-2", "minor_tick_line_color": "line-2",
                "major_label_text_color": "ink-2", "axis_label_text_color": "ink-2"}),
        (Grid, {"grid_line_color": "line"}),
        (Title, {"text_color": "ink"}),
        (Legend, {"label_text_color": "ink-2", "background_fill_color": "surface", "border_line_color": "line"}),
        (Plot, {"background_fill_color": "surface", "border_fill_color": "surface", "outline_line_color": "line"}),
    ]  # fmt: skip
    if any(isinstance(tag, dict) and _THEME in tag for tag in model.tags):
        return
    for kind, colors in frame:
        if isinstance(model, kind):
            themed(model, **{name: color for name, color in colors.items() if getattr(model, name) is not None})
