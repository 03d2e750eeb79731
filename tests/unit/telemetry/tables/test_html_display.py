# SPDX-License-Identifier: MIT
"""What a notebook shows of a run."""

from dataclasses import replace
from html.parser import HTMLParser

from tests.support.run_records import batch, packing, run_of
from virnuc_profiler.telemetry.records import DeviceCapture

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'\x1b[2J\u202e\ud800&amp;" + "x" * 10_000


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data):
        self.texts.append(data)


def test_the_main_figures_are_there():
    run = run_of([batch(0, 0, 10, (), packing([10, 20], 32))], 10, device=DeviceCapture("NVIDIA H200", timed=True))
    texts = Elements(run._repr_html_()).texts
    assert "Run made-by-hand" in texts
    assert texts[texts.index("tokens") + 1] == "30 (3,000.0/s over the whole run)"
    assert texts[texts.index("device times") + 1] == "measured"


def test_what_is_missing_is_said():
    texts = Elements(run_of([], 0)._repr_html_()).texts
    assert texts[texts.index("device times") + 1] == "not measured: no GPU"


def test_hostile_text_is_shown_and_does_nothing():
    run = replace(
        run_of([], 0, device=DeviceCapture(HOSTILE, reason=HOSTILE), metadata={"config": {HOSTILE: HOSTILE}}),
        run_id=HOSTILE,
        started_at=HOSTILE,
    )
    html = run._repr_html_()
    found = Elements(html)
    assert set(found.tags) == {"table", "caption", "tbody", "tr", "th", "td"}
    assert found.attributes <= {"style", "scope"}
    assert html.isprintable()
    assert len(html) < 20_000
    html.encode()


def test_colors_are_those_of_the_notebook():
    html = run_of([], 0)._repr_html_()
    assert "color:inherit" in html
    assert "#" not in html  # no color that a dark theme hides
