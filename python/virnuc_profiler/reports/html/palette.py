# SPDX-License-Identifier: MIT
"""The colors of a page, in light and in dark.

The series are the palette of Okabe and Ito (2008), which people with any of the usual color blindnesses tell apart,
darkened on white and lightened on black to a contrast of 3:1 or more. No color is the only sign of anything.
"""

from __future__ import annotations

from typing import Final

COLORS: Final[dict[str, tuple[str, str]]] = {
    "paper": ("#f7f8f9", "#0f1317"),
    "surface": ("#ffffff", "#161b21"),
    "raised": ("#f1f3f5", "#1f262d"),
    "ink": ("#1a1f24", "#e7eaed"),
    "ink-2": ("#4d5761", "#aab4bd"),
    "ink-3": ("#66707a", "#8b96a0"),
    "line": ("#dfe3e7", "#2b333b"),
    "line-2": ("#b9c1c9", "#46515b"),
    "accent": ("#005f9e", "#6cb8f0"),
    "good": ("#00704f", "#3ecf9f"),
    "warning": ("#8a5300", "#f0b04a"),
    "bad": ("#b3400a", "#ff9563"),
    "series-1": ("#0072b2", "#56b4e9"),  # blue
    "series-2": ("#c46a00", "#f0a830"),  # orange
    "series-3": ("#00805d", "#2fc79a"),  # bluish green
    "series-4": ("#b3519a", "#dd92c1"),  # reddish purple
    "series-5": ("#c8460a", "#ff8f5c"),  # vermilion
    "series-6": ("#3f8fc4", "#8cccf2"),  # sky blue
    "series-7": ("#8a7a00", "#f0e442"),  # yellow
    "series-8": ("#6b7682", "#97a3ae"),  # gray
    "heat-low": ("#ffffff", "#161b21"),
    "heat-high": ("#8ec4ea", "#1d5c8c"),
}
"""Color in light and in dark by name. Text in ``ink`` is readable on each mixture of ``heat-low`` and ``heat-high``."""


def css_variables() -> str:
    """Return the style sheet that defines each color as a variable such as ``--ink``; print is always light."""
    light, dark = (_theme(place) for place in (0, 1))
    system = ":root:not([data-theme])"
    return (
        f":root {{ color-scheme: light; {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ {system} {{ color-scheme: dark; {dark} }} }}\n"
        f"@media screen {{ :root[data-theme=dark] {{ color-scheme: dark; {dark} }} }}\n"
    )


def _theme(place: int) -> str:
    return " ".join(f"--{name}: {pair[place]};" for name, pair in COLORS.items())
