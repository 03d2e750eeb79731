# SPDX-License-Identifier: MIT
"""Text of unknown origin in pages: ids, paths and messages may hold anything, and must do nothing."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from markupsafe import Markup, escape

from virnuc_profiler.telemetry.values import printable

MAX_CHARACTERS: Final = 2000
"""Longer texts are cut."""

_FORMULA: Final = re.compile(r"\$(?=\$)|\\(?=[\[(])")
"""Where a chart would see the start of a formula, whose renderer it would load from the network."""


def visible(value: object, limit: int = MAX_CHARACTERS) -> str:
    """Return a value as one line of text, with control, right-to-left and other invisible characters escaped.

    Markup that this package has made passes unchanged.

    Args:
        value: Value to show.
        limit: Maximum number of characters.
    """
    return value if isinstance(value, Markup) else printable(str(value), limit)


def markup(value: object, limit: int = MAX_CHARACTERS) -> Markup:
    """Return a value as markup: what this package has made as it is, everything else visible and escaped.

    Args:
        value: Value to show.
        limit: Maximum number of characters.
    """
    return escape(visible(value, limit))


def chart_text(value: object, limit: int = 80) -> str:
    """Return a text that a chart draws as it stands: labels, titles and legends read formulas otherwise.

    Args:
        value: Value to show.
        limit: Maximum number of characters.
    """
    return _FORMULA.sub(r"\g<0> ", visible(value, limit))


def json_for_script(document: Any) -> Markup:
    """Return JSON that can stand in a ``script`` element: nothing in it ends the element or starts a comment.

    Args:
        document: Plain JSON values.
    """
    text = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704
