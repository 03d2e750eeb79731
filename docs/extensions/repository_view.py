# SPDX-License-Identifier: MIT
"""Makes what the repository's web view shows hold in the site too: links between Markdown files, and pictures."""

import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from myst_parser.sphinx_ import Parser as MystParser
from sphinx.application import Sphinx
from sphinx.util import logging

_log = logging.getLogger(__name__)

DOCS = Path(__file__).parents[1]
INCLUDED = {
    DOCS.parent / "CONTRIBUTING.md": DOCS / "contributing.rst",
    DOCS.parent / "CHANGELOG.md": DOCS / "changelog.rst",
    DOCS / "README.md": DOCS / "index.rst",
    DOCS / "decisions" / "README.md": DOCS / "decisions" / "index.rst",
}
"""Files that have no page of their own, and the pages that include them."""

_LINK = re.compile(r"(?<=\]\()([^)\s#:]+\.md)(?=[)#])")
_PICTURE = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">\s*'
    r'<img alt="(?P<alt>[^"]+)" src="(?P<light>[^"]+)">\s*</picture>'
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Rewrite each page as it is read."""
    app.connect("source-read", _rewrite_page)
    return {"parallel_read_safe": True, "version": "1"}


class Parser(MystParser):
    """Parser of the Markdown files that a page includes: ``.. include:: FILE`` with ``:parser: repository_view``."""

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Parse Markdown whose links are relative to its own file, not to the page that includes it."""
        env = document.settings.env
        page = Path(env.doc2path(env.docname))
        super().parse(in_site(inputstring, Path(document["source"]).resolve(), page), document)


def in_site(text: str, file: Path, page: Path) -> str:
    """Return Markdown as the site needs it.

    Args:
        text: Content of a Markdown file.
        file: The file, to which its links are relative.
        page: Source of the page that shows it: the file itself, or one that includes it.
    """

    def link(found: re.Match[str]) -> str:
        target = (file.parent / found[1]).resolve()
        return os.path.relpath(INCLUDED.get(target, target), page.parent)

    def picture(found: re.Match[str]) -> str:
        return "".join(
            f":::{{image}} {os.path.relpath(file.parent / found[theme], page.parent)}\n:class: only-{theme}\n"
            f":alt: {found['alt']}\n:::\n"
            for theme in ("light", "dark")
        )

    shown = _PICTURE.sub(picture, _LINK.sub(link, text))
    if "<picture" in shown:
        _log.warning("%s has a picture that the site cannot show: it is not as repository_view reads it", file)
    return shown


def _rewrite_page(app: Sphinx, name: str, source: list[str]) -> None:
    page = Path(app.env.doc2path(name))
    if page.suffix == ".md":
        source[0] = in_site(source[0], page, page)
