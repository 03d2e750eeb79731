# SPDX-License-Identifier: MIT
"""The shell of all pages: the answer first, then sections of text, tables and charts, then the fine print."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, Literal

from markupsafe import Markup

from virnuc_profiler.reports.html.figures_html import Figure, bokeh_scripts, figure_json, legend_list, require_bokeh
from virnuc_profiler.reports.html.palette import css_variables
from virnuc_profiler.reports.html.safe_text import json_for_script, visible

if TYPE_CHECKING:
    from jinja2 import Template

REPORT_MARK: Final = Markup('<meta name="generator" content="virnuc_profiler">')
"""What each page has in its first lines, which distinguishes an earlier report from other files."""

Tone = Literal["good", "neutral", "warning", "bad"]


@dataclass(frozen=True)
class Fact:
    """A number that matters.

    Attributes:
        label: What it is, such as ``Predicted time``.
        value: Number with its unit, such as ``3.68 hours``.
        note: Its interval or condition, such as ``3.59 to 3.78 hours for 6,000,000 sequences``.
    """

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Answer:
    """What a reader wants to know first.

    Attributes:
        headline: The verdict in one sentence.
        sentences: What follows from it, or what limits it.
        facts: The numbers that matter.
        command: Shell command that uses the result; empty without one.
        tone: What the verdict means: ``good``, ``neutral``, ``warning`` or ``bad``.
        command_label: What the command does.
    """

    headline: str
    sentences: Sequence[str] = ()
    facts: Sequence[Fact] = ()
    command: str = ""
    tone: Tone = "neutral"
    command_label: str = "Use it"


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Attributes:
        anchor: Its id in the page, of letters, digits and hyphens.
        title: Its heading.
        parts: Paragraphs (plain text), markup of tables, and charts, from top to bottom.
        note: What to know about all of it, such as how it was measured.
        short_title: Its name in the navigation; the title if empty.
    """

    anchor: str
    title: str
    parts: Sequence[str | Markup | Figure]
    note: str = ""
    short_title: str = ""


@dataclass
class _Page:
    """What the template asks for, part by part, so that charts get their ids in order."""

    figures: list[Figure] = field(default_factory=list)

    def charts(self, sections: Sequence[Section]) -> None:
        self.figures = [part for section in sections for part in section.parts if isinstance(part, Figure)]

    def id(self, figure: Figure) -> str:
        place = next(place for place, one in enumerate(self.figures, start=1) if one is figure)
        return f"figure-{place}"

    def json(self, figure: Figure) -> Markup:
        return json_for_script(figure_json(figure, self.id(figure)))


def render_page(
    title: str,
    answer: Answer,
    sections: Sequence[Section],
    fine_print: Sequence[Section],
    *,
    kind: str = "Report",
    source: str = "",
    scripts: Sequence[str] = (),
    styles: str = "",
) -> str:
    """Return a page as one self-contained HTML document.

    Text is escaped, and invisible characters in it are shown; only markup that this package has made is kept.

    Args:
        title: Heading of the page, such as the name of what was measured.
        answer: What the reader wants to know first.
        sections: The body of the page.
        fine_print: What the numbers rest on: machine, versions, workload, and what was not measured.
        kind: What the page reports on, such as ``Sweep``.
        source: File or folder that it was made from.
        scripts: JavaScript of this package that the page needs beyond that of all pages.
        styles: Style sheet that it needs beyond that of all pages.

    Raises:
        LibraryUnavailable: Bokeh is missing.
    """
    require_bokeh()
    page = _Page()
    page.charts([*sections, *fine_print])
    webgl = any(figure.webgl for figure in page.figures)
    whole = [*(bokeh_scripts(webgl=webgl) if page.figures else ()), asset("page.js"), *scripts]
    return _template().render(
        title=title,
        kind=kind,
        source=source,
        answer=answer,
        sections=sections,
        fine_print=fine_print,
        page=page,
        legend_list=legend_list,
        scripts=[Markup(script) for script in whole],  # noqa: S704
        security=Markup(_security_policy(whole, webgl=webgl)),  # noqa: S704
        styles=Markup(css_variables() + asset("page.css") + styles),  # noqa: S704
        mark=REPORT_MARK,
    )


@cache
def asset(name: str) -> str:
    """Return a file of the page's shell.

    Args:
        name: Its name in the folder ``assets``.
    """
    return files(__package__).joinpath("assets").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, finalize=visible, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["figure"] = lambda part: isinstance(part, Figure)
    environment.tests["markup"] = lambda part: isinstance(part, Markup)
    return environment.from_string(asset("page.html.jinja"))


def _security_policy(scripts: Sequence[str], *, webgl: bool) -> str:
    """Return a policy that runs these scripts only, and lets nothing be loaded from anywhere.

    WebGL needs ``eval``: its library compiles drawing commands.
    """
    sources = " ".join([*_hashes(scripts), *(["'unsafe-eval'"] if webgl else [])])
    rules = [
        "default-src 'none'", f"script-src {sources}", "style-src 'unsafe-inline'", "img-src data: blob:",
        "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip
    return "; ".join(rules)


def _hashes(scripts: Sequence[str]) -> Iterator[str]:
    for script in scripts:
        digest = hashlib.sha256(script.encode()).digest()
        yield f"'sha256-{base64.b64encode(digest).decode()}'"
