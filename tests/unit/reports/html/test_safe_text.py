# SPDX-License-Identifier: MIT
"""Text of unknown origin is shown as it stands, and does nothing."""

import json

import pytest
from markupsafe import Markup

from virnuc_profiler.reports.html.safe_text import MAX_CHARACTERS, chart_text, json_for_script, markup, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u202eabc", "\\u202eabc"), ("a\x1b[0m", "a\\x1b[0m"), ("two\nlines", "two\\nlines"), ("\ufeffa", "\\ufeffa"),
        ("Größe 5 µs", "Größe 5 µs"), (None, "None"), (3, "3"),
    ],
)  # fmt: skip
def test_invisible_characters_are_shown(text, shown):
    assert visible(text) == shown


def test_markup_of_this_package_passes_and_all_else_is_escaped():
    assert markup(Markup("<b>x</b>")) == "<b>x</b>"
    assert markup("<b>'\"&") == "&lt;b&gt;&#39;&#34;&amp;"
    assert len(visible("x" * 10_000)) == MAX_CHARACTERS


def test_json_ends_no_script_and_starts_no_comment():
    document = {"a": "</script><!--<script>]]>", "b": ["\u2028", "&"]}
    text = json_for_script(document)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == document


@pytest.mark.parametrize("text", ["$$x$$", "\\[x\\]", "\\(x\\)", "$$$$"])
def test_a_chart_reads_no_formula(text):
    shown = chart_text(text)
    assert not any(delimiter in shown for delimiter in ("$$", "\\[", "\\("))
